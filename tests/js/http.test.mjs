// Reading by HTTP, from servers as they are and as they should not be.
import assert from "node:assert/strict";
import { test } from "node:test";
import { httpSource } from "../../js/source/http/source.js";
import { noise } from "./helpers/archive.mjs";
import { serve } from "./helpers/server.mjs";

const data = Buffer.from(noise(300_000));

async function open(t, serverOptions, options) {
	const server = await serve(data, serverOptions);
	const source = httpSource(server.url, { retryDelay: 1, ...options });
	t.after(async () => {
		source.close();
		await server.close();
	});
	return { server, source };
}

async function check(source, offset, length) {
	assert.deepEqual(Buffer.from(await source.read(offset, length)), data.subarray(offset, offset + length), `${offset} ${length}`);
}

test("reads ranges, one request each, none for nothing", async (t) => {
	const { server, source } = await open(t);
	assert.equal(source.byteLength, undefined);
	await check(source, 0, 65536);
	assert.equal(source.byteLength, data.length);
	await check(source, 5, 1);
	await check(source, data.length - 10, 100);
	await check(source, data.length, 100);
	await check(source, 10, 0);
	assert.deepEqual(server.ranged(), [[0, 65536], [5, 6], [data.length - 10, data.length]]);
	assert.ok(server.log.every(({ method }) => method === "GET"));
});

test("a file smaller than the first read, and an empty one", async (t) => {
	const { server, source } = await open(t);
	server.data = data.subarray(0, 700);
	assert.equal((await source.read(0, 65536)).length, 700);
	assert.equal(source.byteLength, 700);
	const empty = await open(t);
	empty.server.data = Buffer.alloc(0);
	assert.equal((await empty.source.read(0, 65536)).length, 0);
	assert.equal(empty.server.log.length, 1);
});

test("headers and fetch are the caller's", async (t) => {
	const urls = [];
	const { server, source } = await open(t, {}, {
		headers: { authorization: "Bearer x" },
		fetch: (url, init) => {
			urls.push(url);
			return fetch(url, init);
		},
	});
	await check(source, 0, 10);
	assert.equal(server.log[0].headers.authorization, "Bearer x");
	assert.deepEqual(urls, [server.url]);
});

test("by a redirect to another origin go no secret headers, whatever their names", async (t) => {
	const target = await serve(data), other = await serve(data);
	t.after(() => Promise.all([target.close(), other.close()]));
	const secrets = { authorization: "Bearer x", cookie: "a=b", "x-api-key": "secret", "my-own": "secret" };
	const redirect = (to) => (request, response) => {
		if (request.url.startsWith("/dir/"))
			response.writeHead(302, { location: typeof to === "function" ? to() : to });
		else
			response.writeHead(200);
		response.end();
		return true;
	};
	const away = await open(t, { behave: redirect(() => target.url) }, { headers: { ...secrets, accept: "application/x-tar" } });
	await check(away.source, 5, 1000);
	await check(away.source, 70_000, 1000);
	assert.equal(away.server.log.length, 2);
	for (const [name, value] of Object.entries(secrets))
		for (const { headers } of away.server.log)
			assert.equal(headers[name], value);
	assert.deepEqual(target.ranged(), [[5, 1005], [70_000, 71_000]]);
	for (const { headers } of target.log) {
		assert.equal(headers.accept, "application/x-tar");
		assert.deepEqual(Object.keys(secrets).filter((name) => headers[name] !== undefined), []);
	}
	// Once away, always away: the way back home brings no secrets back.
	const home = await open(t, { behave: (request, response) => {
		if (!request.url.includes("back"))
			return redirect(other.url)(request, response);
		assert.equal(request.headers["x-api-key"], undefined);
		return false;
	} }, { headers: secrets });
	other.behave = redirect(`${home.server.origin}/dir/back.qstore`);
	await check(home.source, 0, 100);
	// On the same origin they stay.
	const same = await open(t, { behave: (request, response) => !request.url.includes("moved") &&
		redirect("/dir/moved.qstore?y=2")(request, response) }, { headers: secrets });
	await check(same.source, 0, 100);
	assert.ok(same.server.log.every(({ headers }) => headers["x-api-key"] === "secret"));
	assert.equal(same.server.log.length, 2);
});

test("redirects without end are an error", async (t) => {
	const { source } = await open(t, { behave: (request, response) => {
		response.writeHead(307, { location: request.url }).end();
		return true;
	} }, { headers: { "x-api-key": "secret" } });
	await assert.rejects(source.read(0, 10), { code: "IO", message: /more than 20 redirects$/ });
});

test("a server without Range is read once, forwards, and passed bytes are kept", async (t) => {
	const { server, source } = await open(t, { ranges: false });
	await check(source, 0, 65536);
	await check(source, 100, 10);
	await Promise.all([check(source, 250_000, 50_000), check(source, 70_000, 1000), check(source, 0, 1)]);
	await check(source, 299_999, 10);
	assert.equal((await source.read(data.length, 10)).length, 0);
	assert.equal(source.byteLength, data.length);
	assert.equal(server.log.length, 1);
});

test("without Range and Content-Length the end is found all the same", async (t) => {
	const { source } = await open(t, { behave: (_, response) => response.end(data) || true });
	assert.equal((await source.read(data.length - 5, 100)).length, 5);
});

test("without Range, what was dropped from memory is a clear error", async (t) => {
	const { source } = await open(t, { ranges: false }, { bufferLimit: 100_000 });
	await check(source, 0, 1000);
	await check(source, 290_000, 1000);
	await check(source, 290_000, 1000);
	await assert.rejects(source.read(0, 10), { code: "LIMIT", message: /does not support Range requests.*limit 100000/ });
	await check(source, 291_000, 9000);
});

test("without Range, one read may be larger than the limit", async (t) => {
	const { source } = await open(t, { ranges: false }, { bufferLimit: 1000 });
	await check(source, 10, 290_000);
});

test("without Range, a broken connection is taken up where it was", async (t) => {
	let broken = 0;
	const { server, source } = await open(t, {
		ranges: false,
		behave(_, response) {
			if (broken++ > 1)
				return false;
			response.writeHead(200, { "content-length": data.length });
			response.write(data.subarray(0, 100_000 * broken), () => setTimeout(() => response.destroy(), 20));
			return true;
		},
	});
	await check(source, 0, 1000);
	await check(source, 0, 300_000);
	assert.equal(server.log.length, 3);
});

test("without Range, a read that is aborted leaves the stream to others", async (t) => {
	let release;
	const { source } = await open(t, {
		behave(_, response) {
			response.writeHead(200, { "content-length": data.length });
			response.write(data.subarray(0, 100_000));
			release = () => response.end(data.subarray(100_000));
			return true;
		},
	});
	await check(source, 0, 1000);
	const controller = new AbortController();
	const reading = source.read(0, 300_000, { signal: controller.signal });
	setTimeout(() => controller.abort(), 20);
	await assert.rejects(reading, { name: "AbortError" });
	release();
	await check(source, 0, 300_000);
});

for (const [what, header] of Object.entries({
	"another start": `bytes 1-10/${data.length}`,
	"more than was asked for": `bytes 0-10/${data.length}`,
	"an end before the start": `bytes 0--1/${data.length}`,
	"an end after the file's": "bytes 0-9/5",
	"no numbers": "bytes",
	"another unit": `items 0-9/${data.length}`,
	"a size beyond 2^53": "bytes 0-9/99999999999999999999",
})) {
	test(`a wrong Content-Range is refused: ${what}`, async (t) => {
		const { server, source } = await open(t, {
			behave: (_, response) => response.writeHead(206, { "content-range": header }).end(data.subarray(0, 10)),
		});
		await assert.rejects(source.read(0, 10), { code: "IO", message: /answered with "/ });
		assert.equal(server.log.length, 1);
	});
}

test("a 206 without Content-Range is refused", async (t) => {
	const { source } = await open(t, { behave: (_, response) => response.writeHead(206).end(data.subarray(0, 10)) });
	await assert.rejects(source.read(0, 10), { code: "IO", message: /answered with no Content-Range/ });
});

test("across origins Content-Range may be hidden: then the body counts", async (t) => {
	const { server, source } = await open(t, {}, {
		fetch: async (url, init) => {
			const response = await fetch(url, init);
			const { status, body } = response;
			return { status, body, type: "cors", headers: new Headers() };
		},
	});
	await check(source, 0, 1000);
	await check(source, data.length - 10, 100);
	assert.equal(source.byteLength, undefined);
	assert.equal(server.log.length, 3, "only a request beyond the end tells where it is");
});

test("a shorter range than was asked for is completed", async (t) => {
	const { server, source } = await open(t, {
		behave(_, response, [start, end]) {
			const stop = Math.min(end, start + 999);
			response.writeHead(206, { "content-range": `bytes ${start}-${stop}/${data.length}` }).end(data.subarray(start, stop + 1));
			return true;
		},
	});
	await check(source, 100, 2500);
	assert.equal(server.log.length, 3);
});

test("an unknown total is no error", async (t) => {
	const { source } = await open(t, {
		behave: (_, response, [start, end]) =>
			response.writeHead(206, { "content-range": `bytes ${start}-${end}/*` }).end(data.subarray(start, end + 1)),
	});
	await check(source, 7, 100);
	assert.equal(source.byteLength, undefined);
});

test("a body longer than its Content-Range is refused", async (t) => {
	const { source } = await open(t, {
		behave: (_, response) => response.writeHead(206, { "content-range": `bytes 0-9/${data.length}` }).end(data.subarray(0, 20)),
	});
	await assert.rejects(source.read(0, 10), { code: "IO", message: /more than the 10 bytes/ });
});

test("a body that is cut off is completed from there", async (t) => {
	const { server, source } = await open(t, {
		behave(_, response, [start, end], count) {
			if (count > 3)
				return false;
			response.writeHead(206, { "content-range": `bytes ${start}-${end}/${data.length}`, "content-length": end - start + 1 });
			response.write(data.subarray(start, start + 1000), () => setTimeout(() => response.destroy(), 20));
			return true;
		},
	});
	await check(source, 0, 100_000);
	assert.deepEqual(server.ranged(), [[0, 100_000], [1000, 100_000], [2000, 100_000], [3000, 100_000]]);
});

test("a body that ends early without an error is completed too", async (t) => {
	const { server, source } = await open(t, {
		behave(_, response, [start, end], count) {
			if (count > 1)
				return false;
			response.writeHead(206, { "content-range": `bytes ${start}-${end}/${data.length}` }).end(data.subarray(start, start + 10));
			return true;
		},
	});
	await check(source, 0, 100);
	assert.deepEqual(server.ranged(), [[0, 100], [10, 100]]);
});

test("servers that are busy are asked again, and not for ever", async (t) => {
	for (const status of [429, 500, 503]) {
		const { server, source } = await open(t, {
			behave: (_, response, __, count) => count < 3 && response.writeHead(status, { "retry-after": "0" }).end(),
		});
		await check(source, 0, 10);
		assert.equal(server.log.length, 3, String(status));
	}
	const { server, source } = await open(t, { behave: (_, response) => response.writeHead(503).end() }, { retries: 2 });
	await assert.rejects(source.read(0, 10), { name: "HttpError", code: "IO", status: 503,
		message: /HTTP status 503.*\(tried 3 times\)$/ });
	assert.equal(server.log.length, 3);
});

test("Retry-After is heeded", async (t) => {
	const { source } = await open(t, {
		behave: (_, response, __, count) => count === 1 && response.writeHead(503, { "retry-after": "1" }).end(),
	});
	const start = performance.now();
	await check(source, 0, 10);
	assert.ok(performance.now() - start > 900);
});

test("other statuses are errors at once", async (t) => {
	for (const status of [401, 403, 404, 410]) {
		const { server, source } = await open(t, { behave: (_, response) => response.writeHead(status).end("no") });
		await assert.rejects(source.read(0, 10), { name: "HttpError", status, message: new RegExp(`model%20a.*HTTP status ${status}`) });
		assert.equal(server.log.length, 1);
	}
});

test("no server at all", async (t) => {
	const { server, source } = await open(t, {}, { retries: 1 });
	await server.close();
	await assert.rejects(source.read(0, 10), { code: "IO", message: /cannot be read: .*ECONNREFUSED.*\(tried 2 times\)/ });
});

test("a failure is not remembered", async (t) => {
	const { server, source } = await open(t, { behave: (_, response) => response.writeHead(500).end() }, { retries: 0 });
	await assert.rejects(source.read(0, 10), { status: 500 });
	server.behave = undefined;
	await check(source, 0, 10);
});

test("a file that changes on the server is noticed", async (t) => {
	const { server, source } = await open(t);
	await check(source, 0, 10);
	server.etag = '"2"';
	await assert.rejects(source.read(10, 10), { name: "SourceChangedError", code: "IO",
		message: /changed on the server.*"1".*"2".*open it again/ });
	server.etag = 'W/"1"';
	await check(source, 10, 10);
	server.etag = undefined;
	await check(source, 10, 10);
	server.data = data.subarray(0, 200_000);
	await assert.rejects(source.read(10, 10), { name: "SourceChangedError", message: /300000 bytes, now 200000/ });
});

test("an abort ends the request, and is not tried again", async (t) => {
	const controller = new AbortController();
	// The abort waits for the request: on a busy machine it may take long, and one that never came would never be closed.
	let closed;
	const { server, source } = await open(t, {
		behave(_, response) {
			closed = new Promise((resolve) => response.on("close", resolve));
			setTimeout(() => controller.abort(), 20);
			return true;
		},
	});
	await assert.rejects(source.read(0, 10, { signal: controller.signal }), { name: "AbortError" });
	await closed;
	assert.equal(server.log.length, 1);
	await assert.rejects(source.read(0, 10, { signal: AbortSignal.abort() }), { name: "AbortError" });
	assert.equal(server.log.length, 1);
});

test("an abort while waiting to try again", async (t) => {
	const { source } = await open(t, { behave: (_, response) => response.writeHead(503, { "retry-after": "100" }).end() });
	await assert.rejects(source.read(0, 10, { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
});

test("closing ends what is under way", async (t) => {
	const { source } = await open(t, { behave: () => Boolean(setTimeout(() => source.close(), 20)) });
	await assert.rejects(source.read(0, 10), { code: "CANCELLED" });
});

test("closing ends a wait before another attempt", { timeout: 10_000 }, async (t) => {
	const { source } = await open(t, {
		behave: (_, response) => response.writeHead(503, { "retry-after": "100" }).end(() => setTimeout(() => source.close(), 50)),
	});
	await assert.rejects(source.read(0, 10), { code: "CANCELLED" });
});

test("users and passwords do not belong into a URL", () => {
	assert.throws(() => httpSource("https://me:secret@example.org/a.qstore"), (error) => error.code === "USAGE" &&
		!error.message.includes("secret"));
});

test("redirects are followed, with the range", async (t) => {
	const { server, source } = await open(t);
	const other = await serve(data.subarray(0, 0), {
		behave: (_, response) => response.writeHead(302, { location: server.url }).end(),
		etag: undefined,
	});
	t.after(() => other.close());
	const redirected = httpSource(other.url);
	await check(redirected, 10, 10);
	assert.deepEqual(server.ranged(), [[10, 20]]);
	source.close();
});

test("a Request gives its URL, headers and signal", async (t) => {
	const { server } = await open(t), controller = new AbortController();
	const source = httpSource(new Request(server.url, { headers: { "x-key": "1" }, signal: controller.signal }),
		{ headers: { "x-other": "2" } });
	await check(source, 5, 100);
	assert.deepEqual([server.log[0].headers["x-key"], server.log[0].headers["x-other"]], ["1", "2"]);
	controller.abort();
	await assert.rejects(source.read(10, 10), { name: "AbortError" });
	assert.throws(() => httpSource(new Request(server.url, { method: "POST" })), { code: "USAGE", message: /with GET, not POST/ });
});

test("a few requests at a time, and waiting ones can be aborted", async (t) => {
	let now = 0, most = 0;
	const { server, source } = await open(t, {
		behave(_, response, range) {
			most = Math.max(most, ++now);
			setTimeout(() => {
				now--;
				response.writeHead(206, { "content-range": `bytes ${range[0]}-${range[1]}/${data.length}` })
					.end(data.subarray(range[0], range[1] + 1));
			}, 5);
			return true;
		},
	}, { requests: 3 });
	const controller = new AbortController();
	const aborted = Array.from({ length: 10 }, () => source.read(0, 10, { signal: controller.signal }));
	controller.abort();
	assert.ok((await Promise.allSettled(aborted)).every(({ status }) => status === "rejected"));
	await Promise.all(Array.from({ length: 20 }, (_, i) => check(source, 100 * i, 100)));
	assert.ok(most <= 3 && server.log.length >= 20, `${most} at a time`);
});

test("bytes are counted as they come, also those of a body that is cut off", async (t) => {
	let first = true;
	const { source } = await open(t, {
		behave(_, response, range) {
			if (!first)
				return false;
			first = false;
			response.writeHead(206, { "content-range": `bytes ${range[0]}-${range[1]}/${data.length}`,
				"content-length": range[1] + 1 - range[0] });
			response.write(data.subarray(range[0], range[0] + 1000), () => setTimeout(() => response.destroy(), 20));
			return true;
		},
	});
	const counts = [];
	await source.read(0, 200_000, { onFetch: (bytes) => counts.push(bytes) });
	assert.equal(counts.reduce((a, b) => a + b), 200_000);
	assert.ok(counts.length > 1);
});

test("a refused range that is inside the file says so", async (t) => {
	const { source } = await open(t, {
		behave: (_, response, range) => range[0] > 1000 && response.writeHead(416, { "content-range": `bytes */${data.length}` }).end(),
	});
	await check(source, 0, 100);
	await assert.rejects(source.read(2000, 10), { name: "HttpError", status: 416, message: /the server refuses bytes from 2000 on/ });
});
