import { isIPv4 } from "node:net";
import { join } from "node:path";
import { POOL_MAX_CHARS, STATE_DIR_MAX_BYTES } from "../../contract/limits.ts";
import { parseRedisUrl } from "../redis-url.ts";
import { bool, choice, int, list, matching, optional, pathOrPem, timeout } from "./value-types.ts";
import { ValueRefused, type ValueType, variable } from "./variable.ts";

const ROOT_STATE_DIR = "/var/lib/drover";

const redisUrl: ValueType<string> = {
  allowed:
    "redis://user:password@host:port, or the same with rediss:// (TLS), redis+sentinel:// or redis+cluster:// (rediss+...:// with TLS; several hosts between commas); user and password percent-encoded",
  brief: "redis://, rediss://, redis[s]+sentinel:// or redis[s]+cluster:// URL",
  parse(text) {
    if (parseRedisUrl(text) === undefined) throw new ValueRefused();
    return text;
  },
};

/** The directory's own length bounds that of the sockets in it. */
const stateDir: ValueType<string> = {
  allowed: `an absolute path of at most ${STATE_DIR_MAX_BYTES} bytes (a socket's path has to fit 107)`,
  parse(text) {
    if (!/^\/[^\p{Cc}]*$/u.test(text)) throw new ValueRefused("is not an absolute path");
    const path = text.replace(/(?<=.)\/+$/, "");
    const bytes = Buffer.byteLength(path);
    if (bytes > STATE_DIR_MAX_BYTES) throw new ValueRefused(`has ${bytes} bytes`);
    return path;
  },
};

/** QEMU's user network binds forwarded ports to IPv4 addresses only (slirp, QEMU 7.2). */
const ipv4: ValueType<string> = {
  allowed: "an IPv4 address of this host (0.0.0.0 is all of them)",
  parse(text) {
    if (!isIPv4(text)) throw new ValueRefused();
    return text;
  },
};

const hostName = matching(/^[A-Za-z0-9.:_-]{1,253}$/, "a host name or an IP address");
const poolName: ValueType<string> = {
  allowed: `a pool name: at most ${POOL_MAX_CHARS} lower-case letters, digits and inner dashes`,
  parse(text) {
    if (text.length > POOL_MAX_CHARS || !/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(text)) throw new ValueRefused();
    return text;
  },
};

export const REDIS_VARIABLES = {
  url: variable({
    name: "DROVER_REDIS_URL",
    aliases: ["REDIS_URL"],
    type: redisUrl,
    default: "redis://127.0.0.1:6379",
    group: "redis",
    doc: "The Redis that API and workers share.",
  }),
  prefix: variable({
    name: "DROVER_REDIS_PREFIX",
    type: matching(
      /^[^\s{}]{0,64}\{[^\s{}]{1,64}\}[^\s{}]{0,64}$/,
      "a word with one part in braces, for example {drover}",
    ),
    default: "{drover}",
    group: "redis",
    doc: "Prefix of all keys; the part in braces keeps them in one hash slot of a cluster.",
  }),
  commandTimeoutMs: variable({
    name: "DROVER_REDIS_COMMAND_TIMEOUT",
    type: timeout,
    default: "2s",
    group: "redis",
    doc: "How long the API waits for one answer of a Redis that is alive; one that is silent is 503 within 250 ms.",
  }),
  caCerts: variable({
    name: "DROVER_REDIS_CA_CERTS",
    type: pathOrPem,
    default: "",
    emptyMeans: "the CAs that Node trusts",
    group: "redis",
    doc: "Certificates of the CA of a rediss:// server, as a path or as PEM text.",
  }),
  clientCert: variable({
    name: "DROVER_REDIS_CLIENT_CERT",
    type: pathOrPem,
    default: "",
    group: "redis",
    doc: "Certificate that a rediss:// server asks of its clients, as a path or as PEM text.",
  }),
  clientKey: variable({
    name: "DROVER_REDIS_CLIENT_KEY",
    type: pathOrPem,
    default: "",
    group: "redis",
    doc: "The private key of that certificate, as a path or as PEM text.",
    secret: true,
  }),
  insecure: variable({
    name: "DROVER_REDIS_INSECURE",
    type: bool,
    default: "false",
    group: "redis",
    doc: "Whether a Redis beyond loopback may be used without a password: whoever reaches it could start VMs.",
  }),
};

export const HOST_VARIABLES = {
  stateDir: variable({
    name: "DROVER_STATE_DIR",
    type: stateDir,
    default: ROOT_STATE_DIR,
    defaultFor: {
      text: `${ROOT_STATE_DIR} as root, else ~/.local/state/drover`,
      of: ({ isRoot, homeDir }) => (isRoot ? ROOT_STATE_DIR : join(homeDir, ".local/state/drover")),
    },
    group: "host",
    doc: "Directory of everything that this host keeps; each VM has one of its own below it.",
  }),
  firmware: variable({
    name: "DROVER_FIRMWARE",
    type: choice("ovmf", "seabios"),
    default: "ovmf",
    group: "host",
    doc: "Firmware of a VM that is not confidential: ovmf as in Cocos; seabios leaves the two OVMF drives out and also boots a PVH vmlinux.",
  }),
  diskMode: variable({
    name: "DROVER_DISK_MODE",
    type: choice("overlay", "copy"),
    default: "overlay",
    group: "host",
    doc: "How a VM gets its disk: a qcow2 overlay of the source, or a full copy as in Cocos.",
  }),
  forwardBind: variable({
    name: "DROVER_FORWARD_BIND",
    type: optional(ipv4),
    default: "",
    emptyMeans: "loopback with a loopback Redis, else all addresses",
    group: "host",
    doc: "Address that the VMs' host ports are bound to.",
  }),
  hostAddress: variable({
    name: "DROVER_HOST_ADDRESS",
    type: optional(hostName),
    default: "",
    emptyMeans: "the source address towards Redis",
    group: "host",
    doc: "Address under which clients reach this host's VMs.",
  }),
  pools: variable({
    name: "DROVER_POOLS",
    type: list(poolName, 1),
    default: "default",
    group: "host",
    doc: "Pools that this host takes VMs from.",
  }),
  sharesReadonly: variable({
    name: "DROVER_SHARES_READONLY",
    type: bool,
    default: "true",
    group: "host",
    doc: "Whether guests may only read their shared directories; in Cocos they may write.",
  }),
  sandbox: variable({
    name: "DROVER_SANDBOX",
    type: bool,
    default: "true",
    group: "host",
    doc: "Whether QEMU runs in its own seccomp sandbox.",
  }),
  maxBoots: variable({
    name: "DROVER_MAX_BOOTS",
    type: int(1, 1024),
    default: "4",
    group: "host",
    doc: "How many VMs of this host boot at the same time.",
  }),
};
