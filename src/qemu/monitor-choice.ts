import type { QmpClient } from "./qmp-client.ts";
import { connectQmp } from "./qmp-connect.ts";
import { QmpError } from "./qmp-error.ts";
import type { VmPaths } from "./vm-paths.ts";

/** An idle monitor greets within a few ms; a loaded host may need more. */
const GREETING_TIMEOUT_MS = 1_000;

/**
 * Connects to the monitor of a QEMU that runs already: to the first one, or, where another client holds that (a hung
 * predecessor of ours), to the rescue monitor.
 * Throws QmpError as connectQmp does, for the rescue monitor, and the signal's reason.
 */
export async function connectEitherMonitor(dial: {
  readonly paths: Pick<VmPaths, "qmpSocket" | "qmpRescueSocket">;
  readonly isAlive: () => boolean;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}): Promise<QmpClient> {
  const { paths, timeoutMs = GREETING_TIMEOUT_MS, ...rest } = dial;
  try {
    return await connectQmp({ ...rest, socketPath: paths.qmpSocket, timeoutMs });
  } catch (error) {
    if (!(error instanceof QmpError) || error.code === "process_gone") throw error;
    return await connectQmp({ ...rest, socketPath: paths.qmpRescueSocket, timeoutMs });
  }
}
