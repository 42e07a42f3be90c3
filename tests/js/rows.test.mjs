// Every kind of pair and chain of helpers/rows.mjs, from generated weights: what is packed comes back, by the rules that made it, in as many bits as
// ever. tests/js/rows_slow.test.mjs has those that are much like one here, and real weights.
import { after, before } from "node:test";
import { ROWS } from "./helpers/rows.mjs";
import { generateModel, testRows } from "./helpers/row-checks.mjs";
import { temporary } from "./helpers/tools.mjs";

const folder = temporary({ after });
before(() => generateModel(folder));
testRows(folder, ROWS.filter((row) => !row.slow));
