// A real HTTP server for one file, that can misbehave, and counts what it is asked for.
import { createServer } from "node:http";

/**
 * behave(request, response, range): called for each request before the normal answer; when it returns true it has answered.
 * range: [start, end], end included, or undefined.
 */
export async function serve(data, { ranges = true, etag = '"1"', behave } = {}) {
	const log = [];
	const state = { data, ranges, etag, behave, log };
	const server = createServer((request, response) => {
		const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
		const total = state.data.length;
		const range = match && [Number(match[1]), Math.min(Number(match[2]), total - 1)];
		const entry = { method: request.method, range, headers: request.headers, sent: 0 };
		log.push(entry);
		if (state.etag)
			response.setHeader("etag", state.etag);
		if (state.behave?.(request, response, range, log.length))
			return;
		if (range && state.ranges) {
			if (range[0] >= total) {
				response.writeHead(416, { "content-range": `bytes */${total}` }).end();
				return;
			}
			const body = state.data.subarray(range[0], range[1] + 1);
			entry.sent = body.length;
			response.writeHead(206, { "content-range": `bytes ${range[0]}-${range[1]}/${total}`, "content-length": body.length });
			response.end(body);
		} else {
			entry.sent = total;
			response.writeHead(200, { "content-length": total }).end(state.data);
		}
	});
	await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
	return Object.assign(state, {
		url: `http://127.0.0.1:${server.address().port}/dir/model%20a.qstore?x=1`,
		/** The ranges that were asked for, [start, end) each. */
		ranged: () => log.flatMap(({ range }) => range ? [[range[0], range[1] + 1]] : []),
		async close() {
			server.closeAllConnections();
			await new Promise((resolve) => server.close(resolve));
		},
	});
}
