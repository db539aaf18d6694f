import type { FieldProblem } from "../../contract/errors.ts";
import type { Config } from "../config-shape.ts";
import { isLoopbackHost, parseRedisUrl } from "../redis-url.ts";
import type { Note } from "./cross-checks.ts";
import { maskUrlPasswords } from "./url-password.ts";

const listenersOf = ({ http, grpc }: Config) =>
  [
    ["MANAGER_HTTP", http],
    ["MANAGER_GRPC", grpc],
  ] as const;

/** TLS of the listeners and the way to Redis: what would silently be less safe than it was meant. */
export function checkConnections(config: Config, note: Note): void {
  for (const [prefix, { serverCert, serverKey, clientCaCerts }] of listenersOf(config)) {
    if ((serverCert === "") !== (serverKey === "")) {
      const [missing, set] = serverCert === "" ? ["CERT", "KEY"] : ["KEY", "CERT"];
      note(
        [`${prefix}_SERVER_${missing}`],
        `is not set, but ${prefix}_SERVER_${set} is: TLS needs both. Set both or neither.`,
      );
    } else if (serverCert === "" && clientCaCerts !== "") {
      note(
        [`${prefix}_CLIENT_CA_CERTS`],
        `asks clients for a certificate, which they can show over TLS only. Set ${prefix}_SERVER_CERT and ${prefix}_SERVER_KEY, or unset it.`,
      );
    }
  }
  checkRedis(config, note);
}

/** Whoever may write to Redis may launch VMs, read what they print and remove them. */
function checkRedis({ redis }: Config, note: Note): void {
  if ((redis.clientCert === "") !== (redis.clientKey === "")) {
    const [missing, set] = redis.clientCert === "" ? ["CERT", "KEY"] : ["KEY", "CERT"];
    note(
      [`DROVER_REDIS_CLIENT_${missing}`],
      `is not set, but DROVER_REDIS_CLIENT_${set} is: they go together. Set both or neither.`,
    );
  }
  const url = parseRedisUrl(redis.url);
  if (url === undefined || redis.insecure || !isBeyond(url.nodes)) return;
  if (url.password !== "" || (url.tls && redis.clientCert !== "")) return;
  note(
    ["DROVER_REDIS_URL", "DROVER_REDIS_INSECURE", "DROVER_REDIS_CLIENT_CERT"],
    `${JSON.stringify(maskUrlPasswords(redis.url))} lies beyond this machine and has no password: whoever reaches it could read all VMs and start new ones. Write redis://user:password@host:port, better rediss:// (or rediss:// with DROVER_REDIS_CLIENT_CERT), or set DROVER_REDIS_INSECURE=true if the network keeps strangers out.`,
  );
}

/** What works, but hardly as it was meant. */
export function connectionWarnings(config: Config): readonly FieldProblem[] {
  const warnings: FieldProblem[] = [];
  for (const [prefix, { serverCert, serverCaCerts }] of listenersOf(config)) {
    if (serverCert !== "" || serverCaCerts === "") continue;
    warnings.push({
      field: `${prefix}_SERVER_CA_CERTS`,
      message: `Has no effect without ${prefix}_SERVER_CERT and ${prefix}_SERVER_KEY: the listener speaks no TLS.`,
    });
  }
  const { redis } = config;
  const url = parseRedisUrl(redis.url);
  if (url === undefined) return warnings;
  const tlsNames = ["DROVER_REDIS_CA_CERTS", "DROVER_REDIS_CLIENT_CERT", "DROVER_REDIS_CLIENT_KEY"] as const;
  const values = [redis.caCerts, redis.clientCert, redis.clientKey];
  for (const [index, name] of tlsNames.entries()) {
    if (url.tls || values[index] === "") continue;
    warnings.push({ field: name, message: "Has no effect: DROVER_REDIS_URL asks for no TLS. Write rediss:// there." });
  }
  if (!url.tls && url.password !== "" && isBeyond(url.nodes)) {
    warnings.push({
      field: "DROVER_REDIS_URL",
      message:
        "The password and all data travel as plain text to another machine. Write rediss:// where the server has TLS.",
    });
  }
  return warnings;
}

/**
 * What a host that runs VMs has to know of its Redis beside it, or undefined: guests reach this machine's loopback as
 * 10.0.2.2 (QEMU's user network), and with it a Redis that asks nobody for a password.
 */
export function guestsReachRedis(redisUrl: string): string | undefined {
  const url = parseRedisUrl(redisUrl);
  if (url === undefined || url.password !== "" || isBeyond(url.nodes)) return undefined;
  return "Redis has no password, and guests of this host reach its loopback as 10.0.2.2: one that is hostile could read and remove all VMs. Give Redis a password (requirepass) and write it into DROVER_REDIS_URL";
}

function isBeyond(nodes: readonly { readonly host: string }[]): boolean {
  return nodes.some(({ host }) => !isLoopbackHost(host));
}
