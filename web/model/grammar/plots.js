/**
 * How stories go: templates (expand.js) with the words of one cast (cast.js), one string a sentence or two.
 * Every plot keeps its promises: what is wanted or lost at the start is what is found at the end, who asks is answered,
 * and what the hero loves to do comes back.
 */

/** First lines, common to all plots. */
export const OPENINGS = [
	"[once upon a time|once upon a time,|once upon a time|once] there [was|lived] {a_trait} [little |]{kind} [named|called] {hero}. {He} lived {home}.",
	"once upon a time, {home}, there lived {a_trait} [little |]{kind} [named|called] {hero}.",
	"[long ago|long, long ago|many years ago], {a_trait} [little |]{kind} [named|called] {hero} lived {home}.",
	"there once was {a_trait} {kind} [named|called] {hero} who lived {home}.",
	"{hero} was {a_trait} [little |]{kind}. {He} lived {home}.",
	"[this is the story of|listen to the story of] {hero}, {a_trait} [little |]{kind} who lived {home}.",
	"the [little |]{kind} {hero} lived {home}. {He} was [very |]{trait}.",
	"{hero} the {kind} lived {home}. {He} was very {trait}.",
	"[one day|one morning|one sunny day], {a_trait} [little |]{kind} [named|called] {hero} woke up early. {He} lived {home}.",
];

export const HOBBY_LINES = [
	"{He} [loved|liked] to {hobby}.",
	"every [day|morning|evening], {he} {hobbied}.",
	"most of all, {he} [loved|liked] to {hobby}.",
	"{He} {hobbied} all day long.",
];

const MEETINGS = [
	"then {a_ftrait} {fkind} [named|called] {friend} came by.",
	"just then, {he} met {a_ftrait} {fkind} [named|called] {friend}.",
	"on the way, {he} met {a_ftrait} {fkind} [named|called] {friend}.",
];
const THANKS = [
	'"thank you, {friend}," said {hero}.',
	'"thank you so much, {friend}!" said {hero}.',
	'"you are a true friend, {friend}," said {hero}.',
];
const JOY = [
	"{hero} was so happy that {he} [jumped for joy|laughed out loud|hugged {friend}|danced around {friend}].",
	"{hero} [hugged {friend} and laughed|jumped for joy|smiled from ear to ear].",
	"{hero} was [very happy|happy again|full of joy].",
];
const SADNESS = [
	"{hero} [sat down and cried|was very sad|did not know what to do].",
	"{He} was so sad that {he} [sat down and cried|could not sleep|could not eat].",
];
const WHY = '"why are you so sad?" [asked {friend}|{fhe} asked].';

/** Last lines with a friend in them, common to all plots. */
export const ENDINGS = [
	"from that day on, {hero} and {friend} were [good|the best of] friends.",
	"that evening they {hobbied} together until the [moon rose|stars came out|sun went down].",
	"and from then on, {hero} and {friend} {hobbied} together every day.",
	"{hero} and {friend} went home to {place} and {hobbied} all night.",
	"and they lived happily ever after {there}.",
];

/** @type {Record<string, (string | string[])[]>} a list of strings is one of them */
export const PLOTS = {
	lost: [
		["{He} had {a_thing} that {he} loved more than anything.", "{hero} had {a_thing}, a gift from {his} {relative}.",
			"wherever {he} went, {he} took {his} {thing} with {him}."],
		["one [day|morning|evening|{season} day], the {thing} was gone.",
			"but one [day|morning|{season} day], {he} could not find the {thing}."],
		["{hero} looked {spotA}, but [it was not there|there was nothing].",
			"{He} looked {spotA} and {spotD}, but [it|the {noun}] was not there."],
		SADNESS, MEETINGS, WHY,
		'"I have lost my {thing}," said {hero}.',
		'"[do not worry|do not cry|do not be sad]," said {friend}. "[I will help you|we will find it together]."',
		"they looked {spotB}[, but the {noun} was not there|, but they found nothing|].",
		["[at last|in the end], {friend} looked {spotC}, and there was the {thing}!",
			"[at last|in the end], they found the {thing} {spotC}."],
		JOY, THANKS,
		"{He} never lost {his} {thing} again.",
	],
	wish: [
		["{hero} wanted {a_thing} [more than anything|very much].", "{hero} had [always wanted|only one wish:] {a_thing}."],
		["{His} {relative} told {him} that there was {a_thing} {behind}.", "one day, {he} saw {a_thing} {behind}."],
		"{hero} went to get it, {barred}.",
		SADNESS,
		["then {a_akind} [named|called] {friend} came by.", "just then, {he} met {a_akind} [named|called] {friend}."],
		WHY,
		['"I want the {thing}, [and I cannot get it|but it is {behind}]," said {hero}.'],
		'"I can help you," said {friend}. "{skill}."',
		["so {deed} and {back}.", "{deed}, found the {thing}, and {back}."],
		['"[here is your {thing}|this is for you]," {fhe} said.'],
		JOY, THANKS,
		"[|{He} kept the {thing} for ever.|{He} took the {thing} home.]",
	],
	trade: [
		"{hero} wanted {a_thing} [more than anything|for {his} {relative}|very much].",
		"{He} went to the market, where {a_ftrait} {fkind} [named|called] {friend} sold [all kinds of things|many pretty things].",
		'"how much is the {thing}?" [asked {hero}|{he} asked].',
		'"I do not want money," said {friend}. "bring me {a_price}, and the {noun} is yours."',
		"[|so {hero} went to look for {a_price}.|{hero} thought about it for a long time.]",
		["{He} looked {spotA}, but [there was nothing|{he} found nothing].", "{He} looked {spotA} and {spotB}."],
		"[at last|in the end], {he} found {a_price} {spotC}.",
		["{He} ran back to the market and gave it to {friend}.", "{He} brought the {price} to {friend}."],
		'"[well done|wonderful|just what I need]!" said {friend}. "here is your {thing}."',
		JOY,
		"[|{He} gave the {thing} to {his} {relative}.|{He} carried the {thing} home.]",
	],
	courage: [
		"but {hero} was afraid of {fear}.",
		["{His} best friend was {a_ftrait} {fkind} [named|called] {friend}.",
			"{He} had a friend, {a_ftrait} {fkind} [named|called] {friend}."],
		"[everyone laughed at {him}, but {friend} did not|{friend} never laughed at {him}].",
		"one [night|evening|{season} day], {hero} heard that {friend} {trouble}.",
		'"Help! Help!" [called|cried] {friend}.',
		"{hero} was [very afraid|so afraid that {his} knees shook], but {he} thought of {his} friend.",
		"{He} took a deep breath and {overcame}.",
		["{He} found {friend} and brought {fhim} home.", "{He} took {friend} by the hand and led {fhim} home."],
		'"you [saved me|came for me], {hero}," said {friend}. "you are very brave."',
		"from that day on, {hero} was [not|no longer|never] afraid of {fear}[| again].",
	],
	finder: [
		["one [day|morning|{season} day], {hero} found {a_thing} {spotA}.",
			"one [day|morning|{season} day], {he} looked {spotA} and found {a_thing}."],
		'"whose {noun} is this?" {he} [asked|thought].',
		["{He} wanted to keep it, but {he} knew that it was not {his} {noun}.", "{He} wanted to keep it, but that was not right."],
		"{He} asked {his} {relative}, but {his} {relative} did not know.",
		"then {he} saw {a_ftrait} {fkind} [named|called] {friend}, who was looking for something {spotB}.",
		'"what are you looking for?" asked {hero}.',
		'"I have lost my {thing}," said {friend}.',
		'"here it is," said {hero}. "I found it {spotA}."',
		"{friend} was so happy that {fhe} [jumped for joy|hugged {hero}|gave {hero} {food}].",
		'"thank you, {hero}," {fhe} said. "you are very [honest|kind|good]."',
	],
	work: [
		"one [day|morning|{season} day], {hero} wanted to make {work} [out of|of] {of}.",
		"{He} worked [all day|all morning|from morning to night]. then {he} {test}, but {fails}.",
		"{He} tried again, but {fails} again.",
		SADNESS, MEETINGS,
		'"I wanted to make {work}, but I cannot do it," said {hero}.',
		'"[do not give up|that is a good idea]," said {friend}. "{advice}."',
		["so they worked together [until it was done|all day].", "{hero} listened to {friend} and started again."],
		"when the {worked} was done, they {test}, and {works}!",
		JOY, THANKS,
	],
	meal: [
		"one [day|evening|cold day|{season} day], {hero} had {food}. {He} wanted to eat it all alone.",
		["but there was a knock at the door. it was {a_ftrait} {fkind} [named|called] {friend}.", MEETINGS[0]],
		'"I am so hungry," said {friend}. "I have not eaten for [two|three] days."',
		["{hero} looked at the {foodOnly} and thought about it.", "{hero} was hungry too."],
		'then {he} said, "Come and sit with me. [we can share|there is enough for two]."',
		"they ate the {foodOnly} together, and it was [better than ever|the best meal of all].",
		'"thank you, {hero}," said {friend}. "you are very kind. I have something for you."',
		"{FHe} gave {hero} {a_thing}.",
		["{hero} was very happy with the {thing}.", "{hero} had never seen such {a_thing}."],
	],
};
