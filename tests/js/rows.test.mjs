// Every kind of pair and chain of helpers/rows.mjs, from generated weights: what is packed comes back, by the rules that made it, in as
// many bits as
// ever. tests/js/rows_slow.test.mjs has those that are much like one here, and real weights.
import { after, before, test } from "node:test";
import { ODD_ROWS, ROWS } from "./helpers/rows.mjs";
import { checkRow, generateModel, testRows } from "./helpers/row-checks.mjs";
import { temporary } from "./helpers/tools.mjs";

const folder = temporary({ after });
before(() => generateModel(folder));
testRows(folder, ROWS.filter((row) => !row.slow));

const odd = temporary({ after });
before(() => generateModel(odd, "--hidden 104 --intermediate 240"));
for (const row of ODD_ROWS)
	test(row.name, async () => {
		await checkRow(odd, row);
	});
