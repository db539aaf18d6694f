import { DroverError } from "../../contract/errors.ts";
import { ATTEMPTS_MAX } from "../../contract/limits.ts";
import { parseSecretKeys } from "../secret-keys.ts";
import { int, keepTime, line, matching, orEmpty, pathOrPem, step, timeout, timeoutOrNone } from "./value-types.ts";
import { ValueRefused, type ValueType, variable } from "./variable.ts";

const secretKeys: ValueType<string> = {
  allowed: "id:base64 of 32 bytes, several between commas or in lines; the first one seals",
  parse(text) {
    if (text === "") return "";
    try {
      parseSecretKeys(text, "DROVER_SECRETS_KEY");
      return text;
    } catch (error) {
      if (!(error instanceof DroverError)) throw error;
      // Ids are left out: what stands before the colon may be the key, where somebody wrote it the wrong way round.
      throw new ValueRefused(error.problems.map(({ message }) => withoutIds(message)).join(", "));
    }
  },
};

const withoutIds = (message: string): string => message.replace(/ \("[^"]*"\)/g, "").replace(/ "[^"]*"/g, "");

export const SECRETS_VARIABLES = {
  keys: variable({
    name: "DROVER_SECRETS_KEY",
    type: secretKeys,
    default: "",
    emptyMeans: "the key file, else requests with secrets are refused",
    group: "secrets",
    doc: "Keys that secrets are sealed with before they reach Redis; API and workers need the same.",
    secret: true,
  }),
  keyFile: variable({
    name: "DROVER_SECRETS_KEY_FILE",
    type: line(),
    default: "",
    group: "secrets",
    doc: "File with such keys, one in a line, mode 0600; read when DROVER_SECRETS_KEY is unset, and again when it changes.",
  }),
};

export const LAUNCH_VARIABLES = {
  attempts: variable({
    name: "DROVER_ATTEMPTS",
    type: int(1, ATTEMPTS_MAX),
    default: "3",
    group: "launch",
    doc: "How many launches of a VM may fail before it has failed, unless its request says otherwise.",
  }),
  backoffMs: variable({
    name: "DROVER_BACKOFF",
    type: timeout,
    default: "5s",
    group: "launch",
    doc: "Wait before the second launch; it doubles with every further one, with jitter.",
  }),
  backoffMaxMs: variable({
    name: "DROVER_BACKOFF_MAX",
    type: timeout,
    default: "5m",
    group: "launch",
    doc: "Longest wait before a launch.",
  }),
  bootTimeoutMs: variable({
    name: "DROVER_BOOT_TIMEOUT",
    type: timeoutOrNone,
    default: "0",
    group: "launch",
    doc: "How long a launch may take, unless the request says otherwise; 0 means no limit.",
  }),
  qmpTimeoutMs: variable({
    name: "DROVER_QMP_TIMEOUT",
    type: timeout,
    default: "30s",
    group: "launch",
    doc: "How long QEMU may take to greet and to answer on its monitor.",
  }),
  portAsideMs: variable({
    name: "DROVER_PORT_ASIDE",
    type: keepTime,
    default: "10m",
    group: "launch",
    doc: "How long a port that another process held is not used.",
  }),
};

export const STOP_VARIABLES = {
  powerdownMs: variable({
    name: "DROVER_STOP_POWERDOWN_TIMEOUT",
    type: step,
    default: "20s",
    group: "launch",
    doc: "How long a guest may take to power itself off.",
  }),
  quitMs: variable({
    name: "DROVER_STOP_QUIT_TIMEOUT",
    type: step,
    default: "5s",
    group: "launch",
    doc: "How long QEMU may take to quit before it gets SIGTERM.",
  }),
  termMs: variable({
    name: "DROVER_STOP_TERM_TIMEOUT",
    type: step,
    default: "5s",
    group: "launch",
    doc: "How long QEMU may take after SIGTERM before it gets SIGKILL.",
  }),
};

export const KEEPING_VARIABLES = {
  reconcileMs: variable({
    name: "DROVER_RECONCILE_INTERVAL",
    type: timeout,
    default: "15s",
    group: "keeping",
    doc: "How often a worker compares queue, records, disk and processes.",
  }),
  sweepMs: variable({
    name: "DROVER_SWEEP_INTERVAL",
    type: timeout,
    default: "5s",
    group: "keeping",
    doc: "How often accepted requests without a job, due deletions and waits that ran out are looked for.",
  }),
  completedMs: variable({
    name: "DROVER_KEEP_COMPLETED",
    type: keepTime,
    default: "72h",
    group: "keeping",
    doc: "How long a VM that ended well, was removed or expired is kept in the lists.",
  }),
  failedMs: variable({
    name: "DROVER_KEEP_FAILED",
    type: keepTime,
    default: "336h",
    group: "keeping",
    doc: "How long a failed VM is kept in the lists.",
  }),
  failedSecretsMs: variable({
    name: "DROVER_KEEP_FAILED_SECRETS",
    type: keepTime,
    default: "24h",
    group: "keeping",
    doc: "How long the sealed secrets of a failed VM are kept for a retry by hand.",
  }),
  marksMs: variable({
    name: "DROVER_KEEP_MARKS",
    type: keepTime,
    default: "168h",
    group: "keeping",
    doc: "How long removal marks outlive a VM's record; as long its id answers 410 instead of 404.",
  }),
  idempotencyMs: variable({
    name: "DROVER_KEEP_IDEMPOTENCY",
    type: keepTime,
    default: "24h",
    group: "keeping",
    doc: "How long an idempotency key is kept, and never shorter than its VM.",
  }),
  eventsMax: variable({
    name: "DROVER_EVENTS_MAX",
    type: int(1),
    default: "1000000",
    group: "keeping",
    doc: "How many events are kept.",
  }),
};

/** Read by the client commands only, so that they need no other setting. */
export const CLIENT_VARIABLES = {
  url: variable({
    name: "DROVER_URL",
    type: matching(/^https?:\/\/[^\s@]+$/, "an http:// or https:// URL without user and password"),
    default: "http://127.0.0.1:7003",
    group: "client",
    doc: "The API that the client commands talk to.",
  }),
  token: variable({
    name: "DROVER_TOKEN",
    type: orEmpty(matching(/^[\x21-\x7e]{1,512}$/, "a token as `drover token add` printed it")),
    default: "",
    emptyMeans: "the file, else none",
    group: "client",
    doc: "The token that the client commands send.",
    secret: true,
  }),
  tokenFile: variable({
    name: "DROVER_TOKEN_FILE",
    type: line(),
    default: "",
    group: "client",
    doc: "File with that token; read when DROVER_TOKEN is unset.",
  }),
  caCerts: variable({
    name: "DROVER_CA_CERTS",
    type: pathOrPem,
    default: "",
    emptyMeans: "the CAs that Node trusts",
    group: "client",
    doc: "Certificates of the CA of an https:// API, as a path or as PEM text.",
  }),
  clientCert: variable({
    name: "DROVER_CLIENT_CERT",
    type: pathOrPem,
    default: "",
    group: "client",
    doc: "The certificate that the client commands show, as a path or as PEM text.",
  }),
  clientKey: variable({
    name: "DROVER_CLIENT_KEY",
    type: pathOrPem,
    default: "",
    group: "client",
    doc: "The private key of that certificate, as a path or as PEM text.",
    secret: true,
  }),
};
