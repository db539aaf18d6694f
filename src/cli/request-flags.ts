import { type Command, Option } from "commander";
import { ATTEMPTS_MAX } from "../contract/limits.ts";
import { TEE_NEEDS } from "../contract/placement.ts";
import { PRIORITY_CLASSES, type VmRequest } from "../contract/vm-request.ts";
import { choice } from "./choice.ts";
import { UsageError } from "./cli-error.ts";
import { wholeNumber } from "./number-option.ts";

type Field = keyof VmRequest;

/**
 * How a flag's word becomes the field's value. `pem`: the bytes of a file. `line`: the one line that a file holds; for
 * secrets, whose values must not stand in the process list.
 */
type Kind = "text" | "pem" | "line" | "yes" | "number" | "labels" | "probe";

export interface RequestFlag {
  readonly field: Field;
  readonly flags: string;
  readonly about: string;
  readonly kind: Kind;
  readonly parse?: (text: string) => unknown;
}

const common: readonly RequestFlag[] = [
  { field: "name", flags: "--name <name>", about: "a name for people", kind: "text" },
  { field: "labels", flags: "--label <name=value>", about: "a label (repeat it)", kind: "labels" },
  { field: "pool", flags: "--pool <pool>", about: "the pool of hosts to run in", kind: "text" },
  {
    field: "tee",
    flags: "--tee <kind>",
    about: "run only where VMs are confidential: snp, tdx; or none: never confidential",
    kind: "text",
    parse: choice(TEE_NEEDS),
  },
  { field: "gpu", flags: "--gpu", about: "wait for a host whose GPU is free", kind: "yes" },
  { field: "gpu", flags: "--no-gpu", about: "run without a GPU, also where one is free", kind: "yes" },
  {
    field: "memoryClass",
    flags: "--memory-class <name>",
    about: "the size of memory, by a name that hosts give it",
    kind: "text",
  },
  {
    field: "hostLabels",
    flags: "--host-label <name=value>",
    about: "run only on a host with this label (repeat it)",
    kind: "labels",
  },
  {
    field: "priority",
    flags: "--priority <class>",
    about: PRIORITY_CLASSES.join(", "),
    kind: "text",
    parse: choice(PRIORITY_CLASSES),
  },
  { field: "ttl", flags: "--ttl <duration>", about: "ends the VM this long after it first ran (10m)", kind: "text" },
  {
    field: "queueTimeout",
    flags: "--queue-timeout <duration>",
    about: "how long it may wait in the queue",
    kind: "text",
  },
  { field: "bootTimeout", flags: "--boot-timeout <duration>", about: "how long one launch may take", kind: "text" },
  {
    field: "attempts",
    flags: "--attempts <n>",
    about: "how many launches may fail",
    kind: "number",
    parse: wholeNumber(1, ATTEMPTS_MAX),
  },
  { field: "probe", flags: "--probe <probe>", about: "ready when: none, tcp, console:TEXT", kind: "probe" },
  { field: "result", flags: "--result", about: "let the guest hand back a result", kind: "yes" },
  {
    field: "retryComputation",
    flags: "--retry-computation",
    about: "retry when the guest hands back a failure",
    kind: "yes",
  },
  {
    field: "onReboot",
    flags: "--on-reboot <what>",
    about: "continue, or end the VM",
    kind: "text",
    parse: choice(["continue", "end"]),
  },
];

/** Named as in cocos-cli; only what is secret comes from files instead of from the command line. */
const cocos: readonly RequestFlag[] = [
  {
    field: "agentCvmServerUrl",
    flags: "--server-url <host:port>",
    about: "computation server for the agent",
    kind: "text",
  },
  { field: "agentCvmServerCaCert", flags: "--server-ca <file>", about: "its CA certificate", kind: "pem" },
  { field: "agentCvmClientCert", flags: "--client-crt <file>", about: "client certificate of the agent", kind: "pem" },
  { field: "agentCvmClientKey", flags: "--client-key <file>", about: "client key of the agent (secret)", kind: "pem" },
  { field: "agentCvmCaUrl", flags: "--ca-url <url>", about: "certificate authority for the agent", kind: "text" },
  { field: "agentCertsToken", flags: "--certs-token-file <file>", about: "token for it (secret)", kind: "line" },
  { field: "agentLogLevel", flags: "--log-level <level>", about: "log level of the agent", kind: "text" },
  { field: "awsEndpointUrl", flags: "--aws-endpoint-url <url>", about: "S3 endpoint", kind: "text" },
  { field: "awsRegion", flags: "--aws-region <region>", about: "S3 region", kind: "text" },
  { field: "awsAccessKeyId", flags: "--aws-access-key-id-file <file>", about: "S3 key id (secret)", kind: "line" },
  { field: "awsSecretAccessKey", flags: "--aws-secret-access-key-file <file>", about: "S3 key (secret)", kind: "line" },
  { field: "aaKbsParams", flags: "--aa-kbs-params-file <file>", about: "KBS parameters (secret)", kind: "line" },
];

export const REQUEST_FLAGS: readonly RequestFlag[] = [...common, ...cocos];

/** Flags of cocos-cli whose value is a secret: named, so that whoever knows them is told where it goes here. */
const SECRETS_BY_VALUE = ["--aws-access-key-id", "--aws-secret-access-key", "--aa-kbs-params", "--certs-token"];

/** Adds a flag for each field of a request. */
export function addRequestFlags(command: Command): void {
  command.optionsGroup("What to run:");
  for (const flag of common) command.addOption(toOption(flag));
  command.optionsGroup("For the guest's agent, as in cocos-cli:");
  for (const flag of cocos) command.addOption(toOption(flag));
  command.addOption(
    new Option(
      "--aws-from-env",
      "take S3 keys, region and endpoint from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL",
    ),
  );
  for (const name of SECRETS_BY_VALUE) {
    const option = new Option(`${name} <value>`).hideHelp().argParser(() => {
      throw new UsageError(`${name} would show a secret to every user of this machine`, {
        hint: `Write it to a file and give ${name}-file FILE ("-" reads standard input).`,
      });
    });
    command.addOption(option);
  }
}

function toOption(flag: RequestFlag): Option {
  const option = new Option(flag.flags, flag.about);
  if (flag.kind === "labels")
    option.argParser((text, before: readonly string[] | undefined) => [...(before ?? []), text]);
  else if (flag.parse !== undefined) option.argParser(flag.parse);
  return option;
}

/** The key under which commander keeps a flag's word. */
export function optionKey(flag: RequestFlag): string {
  return new Option(flag.flags).attributeName();
}

/** The flag by which a field of a request is given: "labels.team" -> "--label". */
export function flagOfField(field: string): string | undefined {
  const name = field.split(/[.[]/)[0];
  return REQUEST_FLAGS.find((flag) => flag.field === name)?.flags.split(" ")[0];
}
