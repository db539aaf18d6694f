import { Meter } from "../runtime/metrics/meter.ts";
import { Scope } from "../runtime/scope.ts";
import { openTracing } from "../runtime/tracing/open-tracing.ts";
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
  await using scope = new Scope();
  const tracing = scope.own(await openTracing({ config: config.manager, logger }), (opened) => opened.close());
  const abandon = new AbortController();
  const worker = await startUnlessStopped(
    startWorker({ config, logger, meter: new Meter({ process: true }), tracing, abandon: abandon.signal }),
    async (late) => void (await late.stop(mode)),
    context.signal,
    abandon,
  );
  await untilStopped(context.signal);
  logger.info(STOPPING[mode]);
  if (mode === "drain") context.onSecondSignal?.(() => void worker.stop("keep"));
  await worker.stop(mode);
}
