import type { GaugeReader } from "../runtime/metrics/meter.ts";
import { DROVER_VERSION } from "../runtime/version.ts";
import type { ApiDeps } from "./api-deps.ts";

/** What a scrape shows of this API's own process. */
export function apiGauges({ keyRing, tls }: Pick<ApiDeps, "keyRing" | "tls">): GaugeReader {
  return (gauges) => {
    gauges.set("drover_build_info", { version: DROVER_VERSION, node: process.versions.node }, 1);
    gauges.set("drover_secret_keys", {}, keyRing.current?.byId.size ?? 0);
    for (const listener of ["http", "grpc"] as const) {
      const expiresAtMs = tls[listener]?.current.expiresAtMs;
      const leftS = expiresAtMs === undefined ? undefined : (expiresAtMs - Date.now()) / 1_000;
      gauges.set("drover_certificate_expires_seconds", { listener }, leftS);
    }
  };
}
