// Writes the tokens that llama.cpp generates from a GGUF model: node llama.mjs MODEL.gguf
import { getLlama } from "node-llama-cpp";

const TOKENS = 40;
const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: "error", maxThreads: 2 });
const model = await llama.loadModel({ modelPath: process.argv[2], useMmap: true });
const context = await model.createContext({ contextSize: 256 });
const tokens = [];
// The most probable token each time.
for await (const token of context.getSequence().evaluate([1, 20, 30], { temperature: 0 })) {
	tokens.push(token);
	if (tokens.length === TOKENS)
		break;
}
console.log(JSON.stringify(tokens));
process.exit(0);
