/** Service worker: keeps the page's own files, so that it opens without a network. Archives are kept by the library, not here. */

importScripts("files.js");

const PREFIX = "qstore-page-", CACHE = PREFIX + self.VERSION;
const KEPT = new Set(self.FILES.map((file) => new URL(file, self.location.href).href));

self.addEventListener("install", (event) => {
	event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([...KEPT])));
});

self.addEventListener("activate", (event) => {
	event.waitUntil(caches.keys().then((names) =>
		Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)))));
});

self.addEventListener("fetch", (event) => {
	const url = new URL(event.request.url);
	url.search = url.hash = "";
	url.pathname = url.pathname.replace(/\/index\.html$/, "/");
	if (event.request.method === "GET" && KEPT.has(url.href))
		event.respondWith(caches.open(CACHE).then((cache) => cache.match(url.href)).then((kept) => kept ?? fetch(event.request)));
});
