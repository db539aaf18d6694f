import { linkSignals } from "../runtime/link-signals.ts";
import { CliError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";
import { formatSpan } from "./render/age.ts";

/** The context's signal, also aborted when `--timeout` has passed. */
export function limitedSignal(signal: AbortSignal, timeoutMs: number | undefined): AbortSignal {
  if (timeoutMs === undefined) return signal;
  const limit = new AbortController();
  const timer = setTimeout(() => {
    const reason = new CliError(`not done within ${formatSpan(timeoutMs)}; it goes on without you`, {
      code: "wait_timeout",
      exitCode: EXIT.timeout,
      hint: "See how it stands with `drover ls`.",
    });
    limit.abort(reason);
  }, timeoutMs);
  timer.unref();
  return linkSignals([signal, limit.signal]).signal;
}
