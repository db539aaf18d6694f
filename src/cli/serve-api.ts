import { startApi } from "../producer/start-api.ts";
import { Meter } from "../runtime/metrics/meter.ts";
import { Scope } from "../runtime/scope.ts";
import { openTracing } from "../runtime/tracing/open-tracing.ts";
import {
  configFrom,
  keepFilesPrivate,
  serverLogger,
  startError,
  startUnlessStopped,
  untilStopped,
} from "./server-setup.ts";
import type { CliContext } from "./terminal.ts";

/** `drover api`: until a signal. */
export async function runApi(context: CliContext): Promise<void> {
  keepFilesPrivate();
  const config = configFrom(context);
  const logger = serverLogger(config, "api", context);
  await using scope = new Scope();
  const tracing = scope.own(await openTracing({ config: config.manager, logger }), (opened) => opened.close());
  const starting = startApi({ config, logger, meter: new Meter({ process: true }), tracing });
  const api = await startUnlessStopped(starting, (late) => late.close(), context.signal).catch((error: unknown) => {
    throw startError(error, config);
  });
  await untilStopped(context.signal);
  logger.info("stopping; a second signal ends at once");
  await api.close();
}
