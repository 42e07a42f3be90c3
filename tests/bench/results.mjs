/** The results that `make bench` left behind. */

import { readFileSync } from "node:fs";

/** Its JSON lines as objects. */
export const readResults = (path) => readFileSync(path, "utf8").split("\n").filter((line) => line).map((line) => JSON.parse(line));
