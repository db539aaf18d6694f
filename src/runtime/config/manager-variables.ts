import { int, line, ratio } from "./value-types.ts";
import { ValueRefused, type ValueType, variable } from "./variable.ts";

/** Thresholds of Go's log/slog. */
const SLOG_LEVELS: Readonly<Record<string, number>> = { DEBUG: -4, INFO: 0, WARN: 4, ERROR: 8 };

/** slog's texts in any case, with an offset if wanted ("info+2"); the lowest of our levels that it lets through. */
const logLevel: ValueType<"debug" | "info" | "warn" | "error"> = {
  allowed: 'debug, info, warn or error, in any case, also with an offset as Go\'s slog has it ("info+2")',
  parse(text) {
    const parts = /^([a-z]+)([+-]\d{1,9})?$/i.exec(text);
    const base = SLOG_LEVELS[parts?.[1]?.toUpperCase() ?? ""];
    if (base === undefined) throw new ValueRefused();
    const threshold = base + Number(parts?.[2] ?? 0);
    if (threshold <= -4) return "debug";
    if (threshold <= 0) return "info";
    return threshold <= 4 ? "warn" : "error";
  },
};

const httpUrl: ValueType<string> = {
  allowed: "an http:// or https:// URL",
  parse(text) {
    if (!/^https?:\/\/[^\s/?#]+([/?#]\S*)?$/.test(text) || !URL.canParse(text)) throw new ValueRefused();
    return text;
  },
};

/** Settings of the manager as a whole. Names, defaults and meanings are those of the Cocos manager's README and code. */
export const MANAGER_VARIABLES = {
  instanceId: variable({
    name: "MANAGER_INSTANCE_ID",
    type: line(128),
    default: "",
    emptyMeans: "made once and kept in the state directory",
    group: "manager",
    doc: "Name of this instance in health answers and traces.",
  }),
  maxVms: variable({
    name: "MANAGER_MAX_VMS",
    type: int(),
    default: "10",
    group: "manager",
    doc: "How many VMs this host runs at once; 0 or less means no limit by number.",
  }),
  eosVersion: variable({
    name: "MANAGER_EOS_VERSION",
    type: line(128),
    default: "",
    group: "manager",
    doc: "Version of the guest image, given out with a VM's description.",
  }),
  logLevel: variable({
    name: "MANAGER_LOG_LEVEL",
    type: logLevel,
    default: "info",
    group: "manager",
    doc: "Lowest level of log lines.",
  }),
  attestationPolicyBinaryPath: variable({
    name: "MANAGER_ATTESTATION_POLICY_BINARY_PATH",
    type: line(),
    default: "../../build",
    group: "manager",
    doc: "Directory that holds igvmmeasure, by which an SEV-SNP host measures its IGVM file for attestation policies.",
  }),
  pcrValues: variable({
    name: "MANAGER_PCR_VALUES",
    type: line(),
    default: "",
    group: "manager",
    doc: "JSON file of the PCR values that policies of SEV-SNP VMs demand of the guest's TPM. Cocos reads the name and uses it nowhere.",
  }),
  corimSigningKey: variable({
    name: "MANAGER_CORIM_SIGNING_KEY",
    type: line(),
    default: "",
    group: "manager",
    doc: "PEM file of the key (P-256, P-384 or Ed25519) by which the API signs attestation policies; without it they are unsigned.",
  }),
  jaegerUrl: variable({
    name: "COCOS_JAEGER_URL",
    type: httpUrl,
    default: "http://localhost:4318",
    group: "manager",
    doc: "Where traces go (OTLP over HTTP).",
  }),
  traceRatio: variable({
    name: "COCOS_JAEGER_TRACE_RATIO",
    type: ratio,
    default: "1.0",
    group: "manager",
    doc: "Share of traces that is kept; 0 turns traces off.",
  }),
};
