/** What DROVER_REDIS_URL says, taken apart. */
export interface RedisUrl {
  readonly kind: "server" | "sentinel" | "cluster";
  readonly tls: boolean;
  /** Of a server the one; of sentinels and clusters those that are asked first. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  readonly username: string;
  readonly password: string;
  /** What follows the hosts: the master's name of sentinels. */
  readonly path: string;
}

const FORM =
  /^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:([^:@/?#\s]*)(?::([^/?#\s]*))?@)?([^@/?#\s]+)(?:\/([^@?#\s]*))?(?:\?[^#\s]*)?$/;
const NODE = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/;
const DEFAULT_PORT = { server: 6_379, sentinel: 26_379, cluster: 6_379 } as const;

/**
 * `redis[s]://`, `redis[s]+sentinel://` or `redis[s]+cluster://`, then `user:password@` if need be, percent-encoded,
 * then `host:port` (several between commas for the last two) and `/path`. Undefined for anything else.
 */
export function parseRedisUrl(text: string): RedisUrl | undefined {
  const parts = FORM.exec(text);
  if (parts === null) return undefined;
  const [, tls, kindText, user = "", pass = "", hosts = "", path = ""] = parts;
  const kind = kindText === "sentinel" || kindText === "cluster" ? kindText : "server";
  const nodes = hosts.split(",").map((node) => {
    const [, host, port] = NODE.exec(node) ?? [];
    return host === undefined
      ? undefined
      : { host: host.replace(/^\[|\]$/g, ""), port: Number(port ?? DEFAULT_PORT[kind]) };
  });
  const known = nodes.filter((node) => node !== undefined);
  if (known.length < nodes.length || (kind === "server" && known.length > 1)) return undefined;
  try {
    const [username, password] = [decodeURIComponent(user), decodeURIComponent(pass)];
    return { kind, tls: tls === "s", nodes: known, username, password, path };
  } catch {
    return undefined; // a stray % in user or password
  }
}

/** Whether a host name or address is this machine's own. */
export function isLoopbackHost(host: string): boolean {
  return /^(localhost|::1|127(\.\d{1,3}){3})$/i.test(host);
}
