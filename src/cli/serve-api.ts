import { startApi } from "../producer/start-api.ts";
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
  const api = await startUnlessStopped(startApi({ config, logger }), (late) => late.close(), context.signal).catch(
    (error: unknown) => {
      throw startError(error, config);
    },
  );
  await untilStopped(context.signal);
  logger.info("stopping; a second signal ends at once");
  await api.close();
}
