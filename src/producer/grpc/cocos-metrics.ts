import { performance } from "node:perf_hooks";
import type { Counting } from "../../runtime/metrics/meter.ts";
import type { Answer, UnaryCall } from "./unary-call.ts";

/** What the Cocos manager calls its methods in its metrics. */
export type CocosMethod = "Run" | "Stop" | "FetchAttestationPolicy" | "ReturnCVMInfo";

/**
 * Counts a method as Cocos does: every call that reaches it, also one that fails, with its time. Whatever the metric's
 * name says, that is in seconds.
 */
export function countedAs<Req, Res>(
  method: CocosMethod,
  counting: Counting,
  handle: (call: UnaryCall<Req>) => Promise<Answer<Res>>,
): (call: UnaryCall<Req>) => Promise<Answer<Res>> {
  return async (call) => {
    const startedMs = performance.now();
    try {
      return await handle(call);
    } finally {
      counting.count("manager_api_request_count", { method });
      const seconds = (performance.now() - startedMs) / 1_000;
      counting.observe("manager_api_request_latency_microseconds", { method }, seconds);
    }
  };
}
