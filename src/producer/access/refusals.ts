import type { Counting } from "../../runtime/metrics/meter.ts";

const REFUSALS = ["unauthenticated", "forbidden", "too_many_requests"] as const;

/** Counts an outcome that lies in who asked. */
export function noteRefusal(counting: Counting, protocol: "http" | "grpc", outcome: string | undefined): void {
  const refusal = REFUSALS.find((one) => one === outcome);
  if (refusal !== undefined) counting.count("drover_access_refused_total", { protocol, outcome: refusal });
}
