import { z } from "zod";
import { GoDurationError, parseGoDurationMs } from "./go-duration.ts";
import {
  ATTEMPTS_MAX,
  DURATION_MAX_MS,
  ENVIRONMENT_VALUE_MAX_CHARS,
  KBS_PARAMS_MAX_CHARS,
  LABEL_KEY_MAX_CHARS,
  LABEL_VALUE_MAX_CHARS,
  LABELS_MAX_COUNT,
  NAME_MAX_CHARS,
  PEM_MAX_BYTES,
  POOL_MAX_CHARS,
  PROBE_TEXT_MAX_CHARS,
} from "./limits.ts";
import { HostLabels, MemoryClass, TEE_NEEDS } from "./placement.ts";

export const PRIORITY_CLASSES = ["high", "normal", "low"] as const;
export type PriorityClass = (typeof PRIORITY_CLASSES)[number];

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const NO_CONTROL =
  "must not hold control characters or line breaks: it becomes one line of the guest's environment file";
const KBS_PARAMS = /^[A-Za-z0-9_:./@?=&%,+-]+$/;

/** A value of the guest's environment file: one line, no control characters. */
const environmentValue = z
  .string()
  .max(ENVIRONMENT_VALUE_MAX_CHARS)
  .refine((value) => !CONTROL_CHARACTER.test(value), NO_CONTROL);

/** Text that people read: no control characters, so that no terminal or page is fooled. */
export const plainText = (maxChars: number) =>
  z
    .string()
    .max(maxChars)
    .refine((value) => !CONTROL_CHARACTER.test(value), "must not hold control characters");

/** File bytes: PEM text as it is, or base64 of the bytes (as protobuf's JSON has it). */
const fileBytes = z
  .string()
  .max(PEM_MAX_BYTES * 2)
  .refine((value) => value.startsWith("-----BEGIN ") || z.base64().safeParse(value).success, {
    message: "must be PEM text that starts with '-----BEGIN ', or base64",
  })
  .refine((value) => decodeFileBytes(value).length <= PEM_MAX_BYTES, `must be at most ${PEM_MAX_BYTES} bytes`);

/** Go duration text above zero, for example "90m". An empty text means: not set (as cocos-cli sends it). */
export const duration = z.string().superRefine((value, context) => {
  if (value === "") return;
  try {
    const ms = parseGoDurationMs(value);
    if (ms <= 0)
      context.addIssue({ code: "custom", message: `must be above zero (got "${value}"); leave it out for no limit` });
    if (ms > DURATION_MAX_MS) context.addIssue({ code: "custom", message: "must be at most 8760h (one year)" });
  } catch (error) {
    if (!(error instanceof GoDurationError)) throw error;
    context.addIssue({ code: "custom", message: `${error.message} (write it like "90m", "1h30m" or "45s")` });
  }
});

const labels = z
  .record(
    z
      .string()
      .max(LABEL_KEY_MAX_CHARS)
      .regex(/^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$/, "a label name has letters, digits and . _ / - inside"),
    plainText(LABEL_VALUE_MAX_CHARS),
  )
  .refine((value) => Object.keys(value).length <= LABELS_MAX_COUNT, `at most ${LABELS_MAX_COUNT} labels`);

const Probe = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("none") }),
  z.strictObject({ type: z.literal("tcp") }).describe("Ready when the guest sends a byte on its forwarded port."),
  z
    .strictObject({ type: z.literal("console"), text: plainText(PROBE_TEXT_MAX_CHARS).min(1) })
    .describe("Ready when the console shows this text."),
]);

const publicShape = {
  name: plainText(NAME_MAX_CHARS).optional().describe("A name for people. Need not be unique."),
  labels: labels.optional(),
  pool: z
    .string()
    .max(POOL_MAX_CHARS)
    .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, "a pool name has lower-case letters, digits and inner dashes")
    .optional(),
  tee: z
    .enum(TEE_NEEDS)
    .optional()
    .describe("Run only on a host with this technology; `none`: without any. Left out: what the host has."),
  gpu: z
    .boolean()
    .optional()
    .describe("True: wait for a host whose GPU is free. False: never get one. Left out: gets it where it is free."),
  memoryClass: MemoryClass.optional().describe(
    "A size of memory by its name: the VM runs on a host that has this class, with the memory that it stands for there. Left out: the host's own size.",
  ),
  hostLabels: HostLabels.optional().describe(
    "Run only on a host that has all these labels. `labels` are the VM's own, and say nothing of its host.",
  ),
  priority: z.enum(PRIORITY_CLASSES).optional(),
  ttl: duration
    .optional()
    .describe('Time limit from the first `running`, as a Go duration ("90m"). Survives retries and restarts.'),
  queueTimeout: duration.optional().describe("How long the VM may wait in the queue before its first launch."),
  bootTimeout: duration.optional().describe("How long one launch may take to `running`, or to `ready` with a probe."),
  attempts: z.int().min(1).max(ATTEMPTS_MAX).optional().describe("How many launches may fail before the VM fails."),
  probe: Probe.optional(),
  result: z.boolean().optional().describe("Give the guest the virtio-serial port `drover.result`."),
  retryComputation: z.boolean().optional().describe("Retry when the guest hands back an exit code other than 0."),
  onReboot: z.enum(["continue", "end"]).optional().describe("What a reboot of the guest does."),
  agentLogLevel: environmentValue.optional(),
  agentCvmServerUrl: environmentValue.optional(),
  agentCvmCaUrl: environmentValue.optional(),
  agentCvmServerCaCert: fileBytes.optional(),
  agentCvmClientCert: fileBytes.optional(),
  awsEndpointUrl: environmentValue.optional(),
  awsRegion: environmentValue.optional(),
};

const secretShape = {
  agentCvmClientKey: fileBytes.optional(),
  agentCertsToken: environmentValue.optional(),
  awsAccessKeyId: environmentValue.optional(),
  awsSecretAccessKey: environmentValue.optional(),
  aaKbsParams: z
    .string()
    .max(KBS_PARAMS_MAX_CHARS)
    .refine(
      (value) => value === "" || KBS_PARAMS.test(value),
      "may hold only A-Z a-z 0-9 _ : . / @ ? = & % , + - : it stands on the kernel command line",
    )
    .optional(),
};

/** A request as a client sends it: the thirteen fields of Cocos under their protobuf JSON names, and drover's own. */
export const VmRequest = z.strictObject({ ...publicShape, ...secretShape });
export type VmRequest = z.infer<typeof VmRequest>;

/** What of a request may stand in clear in Redis. */
export const VmSpec = z.strictObject(publicShape);
export type VmSpec = z.infer<typeof VmSpec>;

/** What of a request is sealed before anything reaches Redis. */
export const VmSecrets = z.strictObject(secretShape);
export type VmSecrets = z.infer<typeof VmSecrets>;

/** Parts a request; a secret field that is empty counts as absent, as on Cocos's wire. */
export function splitRequest(request: VmRequest): { readonly spec: VmSpec; readonly secrets: VmSecrets } {
  const spec: Record<string, unknown> = {};
  const secrets: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(request)) {
    if (value === undefined || value === "") continue;
    if (field in secretShape) secrets[field] = value;
    else spec[field] = value;
  }
  return { spec: VmSpec.parse(spec), secrets: VmSecrets.parse(secrets) };
}

/** Parts a request of a batch, and leaves in what is empty: there it hides what the batch's defaults say. */
export function splitItem(request: VmRequest): { readonly spec: VmSpec; readonly secrets: VmSecrets } {
  const isSecret = ([field]: readonly [string, unknown]) => field in secretShape;
  const fields = Object.entries(request);
  return {
    spec: Object.fromEntries(fields.filter((field) => !isSecret(field))) as VmSpec,
    secrets: Object.fromEntries(fields.filter(isSecret)) as VmSecrets,
  };
}

export function hasSecrets(secrets: VmSecrets): boolean {
  return Object.keys(secrets).length > 0;
}

/** The bytes of a file field: PEM text as UTF-8, anything else as base64. */
export function decodeFileBytes(value: string): Buffer {
  return value.startsWith("-----BEGIN ") ? Buffer.from(value, "utf8") : Buffer.from(value, "base64");
}
