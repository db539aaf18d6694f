import { startWorker } from "../worker/start-worker.ts";
import { configFrom, serverLogger, startUnlessStopped, untilStopped } from "./server-setup.ts";
import type { CliContext } from "./terminal.ts";

/** `drover worker`: until a signal. */
export async function runWorker(context: CliContext): Promise<void> {
  const config = configFrom(context);
  const logger = serverLogger(config, "worker", context);
  const worker = await startUnlessStopped(startWorker({ config, logger }), (late) => late.stop(), context.signal);
  await untilStopped(context.signal);
  logger.info("stopping: VMs are given back to the queue; a second signal ends at once");
  await worker.stop();
}
