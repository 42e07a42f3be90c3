/** The words that stories are made of: who, where, what. Plain data. */

/** Kinds that can be of either gender. */
export const KINDS = [
	"fox", "rabbit", "bear", "mouse", "owl", "cat", "dog", "hedgehog", "frog", "duck", "squirrel", "badger", "otter",
	"goat", "pony", "turtle", "mole", "beaver", "lamb", "wolf", "robot", "dragon", "giant", "elf", "baker", "farmer",
	"sailor", "painter", "child",
];
/** Kinds of one gender only. */
export const FEMALE_KINDS = ["girl", "princess", "queen", "witch"];
export const MALE_KINDS = ["boy", "prince", "king", "wizard"];

export const FEMALE_NAMES = [
	"Anna", "Lily", "Mia", "Nora", "Ella", "Rosa", "Ida", "Clara", "Tilda", "Greta", "Luna", "Maya", "Ruby", "Zoe",
	"Wanda", "Olive", "Hazel", "Ivy", "Pia", "Sofia", "Emma", "Sara", "Lucy", "Molly",
];
export const MALE_NAMES = [
	"Tom", "Ben", "Max", "Otto", "Hugo", "Felix", "Oscar", "Leo", "Finn", "Sam", "Jack", "Theo", "Paul", "Emil",
	"Karl", "Noah", "Tim", "Anton", "Bruno", "Pip", "Toby", "Milo", "Jakob", "Peter",
];

/** Parts of invented names: a model that has met many of them copies a reader's own name, letter by letter. */
export const NAME_STARTS = [
	"B", "C", "D", "F", "G", "H", "J", "K", "L", "M", "N", "P", "Q", "R", "S", "T", "V", "W", "X", "Y", "Z", "Br",
	"Ch", "Cl", "Dr", "Fr", "Gr", "Kr", "Ph", "Sh", "St", "Th", "Tr", "Wh", "", "", "",
];
export const NAME_MIDDLES = [
	"b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "qu", "r", "s", "t", "v", "w", "x", "y", "z", "ll",
	"nn", "rr", "ss", "tt", "nd", "rt", "st", "th", "ch", "sh", "ck", "lm", "rd", "rl", "bb", "ff", "mm", "ph", "ng",
];
export const NAME_VOWELS = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "y", "ia", "ee", "ie", "ea", "oo", "ai", "au", "io"];
/** Letters outside ASCII: two UTF-8 bytes each, so they train the byte tokens. */
export const NAME_ACCENTS = [..."äöüéèáàâêëíïîóôòøåæúùçñšžčćęąłōū"];
export const NAME_ENDS = ["", "", "", "", "n", "s", "r", "l", "t", "m", "d", "k", "th", "x", "nd", "rt", "ck", "h", "z", "w"];

export const TRAITS = [
	"brave", "shy", "clever", "kind", "curious", "lazy", "happy", "quiet", "gentle", "proud", "funny", "young", "small",
	"cheerful", "careful", "hungry",
];
export const FRIEND_TRAITS = ["wise", "old", "friendly", "gentle", "clever", "strong", "merry", "patient", "kind"];

/** Where someone lives, with a word for the place that can come back later. */
export const HOMES = [
	{ at: "in a small house by the sea", place: "the sea", there: "by the sea" },
	{ at: "in a village at the foot of a mountain", place: "the mountain", there: "under the mountain" },
	{ at: "at the edge of a dark forest", place: "the forest", there: "in the forest" },
	{ at: "in a hut near a wide river", place: "the river", there: "by the river" },
	{ at: "in a castle on a hill", place: "the hill", there: "on the hill" },
	{ at: "on an island in the middle of a lake", place: "the lake", there: "on the lake" },
	{ at: "in a cottage behind the old mill", place: "the mill", there: "behind the mill" },
	{ at: "in a hollow tree in a green valley", place: "the valley", there: "in the valley" },
	{ at: "on a farm full of apple trees", place: "the farm", there: "on the farm" },
	{ at: "in a tower beside the harbor", place: "the harbor", there: "by the harbor" },
	{ at: "in a cave under a waterfall", place: "the waterfall", there: "under the waterfall" },
	{ at: "in a town with a tall clock", place: "the town", there: "in the town" },
];

/** Things that someone loves to do; it comes back at the end. */
export const HOBBIES = [
	{ base: "sing", past: "sang" }, { base: "dance", past: "danced" }, { base: "draw", past: "drew" },
	{ base: "tell jokes", past: "told jokes" }, { base: "swim", past: "swam" }, { base: "climb trees", past: "climbed trees" },
	{ base: "count the stars", past: "counted the stars" }, { base: "bake cakes", past: "baked cakes" },
	{ base: "play hide and seek", past: "played hide and seek" }, { base: "read books", past: "read books" },
	{ base: "fly kites", past: "flew kites" }, { base: "pick flowers", past: "picked flowers" },
	{ base: "tell stories", past: "told stories" }, { base: "chase the wind", past: "chased the wind" },
];

export const THING_LOOKS = [
	"red", "blue", "green", "yellow", "golden", "silver", "little", "old", "wooden", "shiny", "white", "purple", "tiny",
	"black", "round", "soft",
];
export const THINGS = [
	"ball", "kite", "drum", "doll", "hat", "scarf", "cup", "book", "key", "bell", "ring", "crown", "lamp", "basket",
	"flute", "spoon", "button", "coin", "box", "mirror", "feather", "stone", "cloak", "umbrella", "blanket", "clock",
];
export const FOODS = [
	"a honey cake", "a warm pie", "a sweet apple", "a pot of soup", "a loaf of bread", "a bag of nuts", "a bowl of berries",
	"a ripe pear", "a big cheese", "a jar of jam",
];
export const SPOTS = [
	"under the bed", "behind the door", "in the garden", "under a bush", "behind the barn", "near the well", "in the tall grass",
	"under the bridge", "beside the pond", "in the hay", "behind a big rock", "on the roof", "under the table",
	"in an old boot", "between the roots of an oak", "at the bottom of the stairs",
];
export const RELATIVES = ["grandmother", "grandfather", "uncle", "aunt", "mother", "father", "sister", "brother"];
export const SEASONS = ["spring", "summer", "autumn", "winter"];

/** Obstacles on the way, and who can overcome it how ({fhe}, {fhis}: the helper's pronouns). */
export const OBSTACLES = [
	{
		what: "a deep river", place: "on the other side of a deep river",
		fear: "but {he} could not swim", kinds: ["otter", "duck", "frog", "beaver", "turtle", "fish"],
		skill: "I can swim very well", deed: "{friend} swam across the deep river",
		back: "swam back with {it}",
	},
	{
		what: "a high wall", place: "behind a high wall",
		fear: "but the wall was much too high to climb", kinds: ["mole", "rabbit", "badger", "mouse"],
		skill: "I can dig very fast", deed: "{friend} dug a tunnel under the wall",
		back: "crawled back with {it}",
	},
	{
		what: "a tall tree", place: "at the top of a tall tree",
		fear: "but {he} was not able to fly", kinds: ["owl", "sparrow", "crow", "dragon", "eagle"],
		skill: "I can fly very high", deed: "{friend} flew to the top of the tree",
		back: "came down with {it}",
	},
	{
		what: "a dark cave", place: "deep inside a dark cave",
		fear: "but {he} was afraid of the dark", kinds: ["cat", "bat", "firefly", "fox"],
		skill: "I can see in the dark", deed: "{friend} went into the dark cave",
		back: "came out again with {it}",
	},
	{
		what: "a heavy stone", place: "under a heavy stone",
		fear: "but the stone was too heavy to lift", kinds: ["bear", "giant", "horse", "robot", "ox"],
		skill: "I am very strong", deed: "{friend} pushed the heavy stone away",
		back: "picked up {it}",
	},
];

/** Things that can be made, their materials, and their uses. */
export const WORKS = [
	{ what: "a boat", of: "wood", test: "put it on the water", fails: "it sank", works: "it floated like a swan" },
	{ what: "a kite", of: "paper", test: "ran with it into the wind", fails: "it fell down", works: "it rose up to the clouds" },
	{ what: "a bridge", of: "stones", test: "walked across it", fails: "it broke", works: "it held" },
	{ what: "a snowman", of: "snow", test: "put a hat on it", fails: "it fell over", works: "it stood tall" },
	{ what: "a lantern", of: "glass", test: "put a candle in it", fails: "the wind blew it out", works: "it shone like a star" },
	{ what: "a cart", of: "boards", test: "rolled it down the road", fails: "a wheel came off", works: "it rolled smoothly" },
	{ what: "a swing", of: "rope", test: "sat down on it", fails: "the knot opened", works: "it went higher and higher" },
];
export const ADVICE = [
	"take your time and try once more", "start again from the bottom", "let us do it together",
	"tie it with a strong string", "make it a little bigger", "make it a little smaller",
];

/** Things that one can be afraid of, and how a friend gets into trouble with it. */
export const FEARS = [
	{ of: "the dark", trouble: "was lost in the dark forest", deed: "took a lamp and walked into the dark forest", now: "the dark" },
	{ of: "deep water", trouble: "had fallen into the lake", deed: "jumped into the deep water", now: "deep water" },
	{ of: "thunder", trouble: "was alone in the storm", deed: "ran out into the thunder and the rain", now: "thunder" },
	{ of: "high places", trouble: "was stuck on top of the tower", deed: "climbed all the way up the tower", now: "high places" },
	{ of: "snow", trouble: "was stuck in the deep snow", deed: "walked through the cold white snow", now: "snow" },
	{ of: "loud dogs", trouble: "was chased by a loud dog", deed: "stood in front of the loud dog", now: "loud dogs" },
];
