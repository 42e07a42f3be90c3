/** The module that a Web Worker of WorkerPool runs. */

import { serve } from "../decode/serve.js";

serve((take) => addEventListener("message", ({ data }) => take(data)),
	(reply, transfer) => /** @type {Worker} */ (/** @type {unknown} */ (globalThis)).postMessage(reply, transfer));
