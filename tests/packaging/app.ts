// The user's program in TypeScript that packaging.test.mjs checks against the published types. Not run.
import { type ArchiveFile, openQstore, QstoreError } from "qstore-decode";
import { attachTransformers } from "qstore-decode/transformers";
import { archiveStorage, ggufBlobs } from "qstore-decode/wllama";

export async function use(signal: AbortSignal): Promise<number> {
	const archive = await openQstore("https://example.org/model.qstore", { signal });
	const file: ArchiveFile = archive.file("config.json", { precision: "low" });
	const bytes: Uint8Array = await file.read(0, 10, { signal });
	const blob: Blob = file.blob(), blobs: Blob[] = ggufBlobs(archive, { precision: "high" });
	const backend: { read(key: string): Promise<Blob | null>; getSize(key: string): Promise<number> } =
		archiveStorage(archive, { url: "https://example.org/" });
	// @ts-expect-error: there is no such way
	attachTransformers({}, archive, "organization/name", { way: "none" });
	try {
		await archive.metadata("none");
	} catch (error) {
		if (error instanceof QstoreError && error.code === "NOT_FOUND")
			return bytes.length + blob.size + blobs.length + await backend.getSize("key");
	}
	return archive.variants[0].downloadSize;
}
