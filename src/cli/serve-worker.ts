import { startWorker } from "../worker/start-worker.ts";
import type { StopMode } from "../worker/worker-stop.ts";
import { configFrom, keepFilesPrivate, serverLogger, startUnlessStopped, untilStopped } from "./server-setup.ts";
import type { CliContext } from "./terminal.ts";

const STOPPING = {
  keep: "stopping: VMs run on, and the next worker of this host takes them over",
  drain: "draining: nothing new is fetched, and the worker ends with its last VM; a second signal leaves them running",
  stop: "stopping: VMs are stopped and go back to the queue; a second signal ends at once",
} as const satisfies Record<StopMode, string>;

/** `drover worker`: until a signal; `mode` is what becomes of its VMs then. */
export async function runWorker(context: CliContext, mode: StopMode): Promise<void> {
  keepFilesPrivate();
  const config = configFrom(context);
  const logger = serverLogger(config, "worker", context);
  const worker = await startUnlessStopped(
    startWorker({ config, logger }),
    async (late) => void (await late.stop(mode)),
    context.signal,
  );
  await untilStopped(context.signal);
  logger.info(STOPPING[mode]);
  if (mode === "drain") context.onSecondSignal?.(() => void worker.stop("keep"));
  await worker.stop(mode);
}
