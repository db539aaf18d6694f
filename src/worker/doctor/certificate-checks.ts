import type { Config } from "../../runtime/config-shape.ts";
import { EXPIRES_SOON_MS, readListenerMaterial, usesTls } from "../../runtime/tls/listener-material.ts";
import type { Check } from "./check.ts";

const LISTENERS = [
  { id: "http_certificate", name: "HTTP", prefix: "MANAGER_HTTP", key: "http" },
  { id: "grpc_certificate", name: "gRPC", prefix: "MANAGER_GRPC", key: "grpc" },
] as const;

/** The certificates of the listeners that speak TLS, as a start of the API here would find them. */
export function certificateChecks(config: Pick<Config, "http" | "grpc">, nowMs: number): readonly Check[] {
  return LISTENERS.filter(({ key }) => usesTls(config[key])).map(({ id, name, prefix, key }) => {
    const { material, problems = [] } = readListenerMaterial(config[key], prefix, nowMs);
    if (material === undefined) {
      const text = `the ${name} listener cannot start: ${problems.map(({ field }) => field).join(", ")}`;
      const todo = problems.map(({ field, message }) => `${field}: ${message}`).join(" ");
      return { id, area: "host", status: "problem", text, todo };
    }
    const ends = new Date(material.expiresAtMs).toISOString().slice(0, 10);
    const [warning] = material.warnings;
    if (material.expiresAtMs - nowMs < EXPIRES_SOON_MS) {
      const todo = "Renew the files; a running API takes new ones by itself.";
      return { id, area: "host", status: "warning", text: `the ${name} listener's certificate ends on ${ends}`, todo };
    }
    return warning === undefined
      ? { id, area: "host", status: "ok", text: `the ${name} listener's certificate is good until ${ends}` }
      : { id, area: "host", status: "warning", text: warning.field, todo: warning.message };
  });
}
