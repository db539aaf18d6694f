import { DroverError } from "../../contract/errors.ts";
import { waitUntil } from "../../runtime/bounded-wait.ts";
import type { Config, ListenerConfig } from "../../runtime/config-shape.ts";
import type { ApiDeps } from "../api-deps.ts";
import { isLoopback } from "./loopback.ts";

/** Redis is waited for so long; without it every request is refused anyway. */
const ASK_MAX_MS = 2_000;
const ASK_EVERY_MS = 50;

interface Listener {
  readonly prefix: "MANAGER_HTTP" | "MANAGER_GRPC";
  readonly config: ListenerConfig;
}

/**
 * Refuses a listener that other machines reach while nobody has to say who they are. Throws `config_invalid` that names
 * the ways out, and warns of what is allowed and dangerous.
 */
export async function assertMayListen({
  config,
  tokens,
  gate,
  logger,
}: Pick<ApiDeps, "config" | "tokens" | "gate" | "logger">): Promise<void> {
  const listeners: readonly Listener[] = [
    { prefix: "MANAGER_HTTP", config: config.http },
    { prefix: "MANAGER_GRPC", config: config.grpc },
  ];
  const reachable = listeners.filter((listener) => !isLoopback(listener.config.host));
  if (reachable.length === 0) return;
  const open = reachable.filter((listener) => !asksEverybody(listener, config));
  if (open.length > 0 && (await noTokens({ tokens, gate }))) {
    if (!config.insecure) throw refusal(open);
    for (const { prefix, config: listener } of open)
      logger.warn(
        `${prefix}_HOST=${listener.host}: whoever reaches this address is the operator, since DROVER_INSECURE=true and no token exists`,
      );
  }
  for (const { prefix, config: listener } of reachable) {
    if (listener.serverCert === "")
      logger.warn(
        `${prefix}_HOST=${listener.host} without TLS: whoever listens on the network reads tokens and secrets; set ${prefix}_SERVER_CERT and ${prefix}_SERVER_KEY, unless a proxy on this machine speaks TLS`,
      );
  }
  if (config.grpcCalls.anonymous === "submitter" && reachable.some(({ prefix }) => prefix === "MANAGER_GRPC"))
    logger.warn(
      `MANAGER_GRPC_HOST=${config.grpc.host}: whoever reaches this address may submit VMs, since DROVER_GRPC_ANONYMOUS=submitter`,
    );
}

/** Whether nobody gets in without proof however few tokens there are. The gRPC listener's own word counts as known. */
function asksEverybody({ prefix, config: { clientCaCerts } }: Listener, config: Config): boolean {
  const known = prefix === "MANAGER_GRPC" && config.grpcCalls.anonymous === "submitter";
  return config.auth.required || clientCaCerts !== "" || (known && !config.insecure);
}

/** False also when Redis cannot be asked: then nobody gets in before it has said that there are none. */
async function noTokens({ tokens, gate }: Pick<ApiDeps, "tokens" | "gate">): Promise<boolean> {
  const answers = () =>
    gate.check().then(
      () => true,
      () => false,
    );
  if (!(await waitUntil(answers, { timeoutMs: ASK_MAX_MS, intervalMs: ASK_EVERY_MS }))) return false;
  try {
    return !(await gate.run(() => tokens.any()));
  } catch {
    return false; // it went away again
  }
}

function refusal(open: readonly Listener[]): DroverError {
  const hosts = open.map(({ prefix, config }) => `${prefix}_HOST=${config.host}`).join(" and ");
  const authorities = open.map(({ prefix }) => `${prefix}_CLIENT_CA_CERTS`).join(" and ");
  const message =
    `${hosts}: anybody who reaches this address could start and remove VMs, since nobody is asked who they are. ` +
    "Make a token first (`drover token add --owner ops --role operator`), " +
    `or ask for client certificates (${authorities}, with a server certificate); ` +
    "else listen on 127.0.0.1, or set DROVER_INSECURE=true if the network keeps strangers out.";
  return new DroverError("config_invalid", message);
}
