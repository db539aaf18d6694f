import { z } from "zod";
import { DroverError } from "../../contract/errors.ts";

/** Left out, or null as some programs write it. */
const maybe = <T extends z.ZodType>(type: T) => type.nullish().transform((value) => value ?? undefined);

/** What the manager sets for each VM; what is left out stays as the environment has it. */
const PerVm = z.object({
  hostFwdAgent: maybe(z.int()),
  deviceIdSuffix: maybe(z.string()),
  certsMount: maybe(z.string()),
  envMount: maybe(z.string()),
  ovmfVarsFile: maybe(z.string()),
  dstDiskFile: maybe(z.string()),
  hostData: maybe(z.string()),
  kernelCmdlineSuffix: maybe(z.string()),
});

const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false);

/** A case for `drover explain --cocos`; further fields (name, note, args, ...) are not looked at. */
export const CocosCase = z.object({
  /** The operator's whole environment. */
  env: z
    .record(z.string(), z.string())
    .nullish()
    .transform((env) => env ?? {}),
  perVm: PerVm.nullish().transform((values) => values ?? PerVm.parse({})),
  /** What Cocos's detection said of the host. */
  sevSnp: flag,
  tdx: flag,
  gpu: flag,
  /** The PCI address that detection returned; only with `gpu`. */
  gpuDetectedBdf: z
    .string()
    .nullish()
    .transform((bdf) => bdf ?? ""),
});
export type CocosCase = z.infer<typeof CocosCase>;

/** Reads a case file's text. Throws `invalid_request` with every field at fault. */
export function parseCaseFile(text: string): CocosCase {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new DroverError("invalid_request", "the case file is not valid JSON", { cause: error });
  }
  const parsed = CocosCase.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => ({ field: path.join("."), message }));
  const listed = problems
    .map(({ field, message }) => `\n  ${field === "" ? "(the whole)" : field}: ${message}`)
    .join("");
  throw new DroverError("invalid_request", `the case file does not fit:${listed}`, { problems });
}
