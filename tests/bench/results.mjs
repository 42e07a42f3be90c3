/** Reading the results that `make bench` has written. */

import { readFileSync } from "node:fs";

/** The objects of the file's JSON lines. */
export const readResults = (path) => readFileSync(path, "utf8").split("\n").filter((line) => line).map((line) => JSON.parse(line));
