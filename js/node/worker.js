/** The module that a thread of WorkerPool runs. */

import { parentPort } from "node:worker_threads";
import { serve } from "../decode/serve.js";

serve((take) => parentPort?.on("message", take), (reply, transfer) => parentPort?.postMessage(reply, transfer));
