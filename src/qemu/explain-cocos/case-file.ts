import { z } from "zod";
import { DroverError } from "../../contract/errors.ts";

/** What the manager sets for each VM; what is left out stays as the environment has it. */
const PerVm = z.object({
  hostFwdAgent: z.int().optional(),
  deviceIdSuffix: z.string().optional(),
  certsMount: z.string().optional(),
  envMount: z.string().optional(),
  ovmfVarsFile: z.string().optional(),
  dstDiskFile: z.string().optional(),
  hostData: z.string().optional(),
  kernelCmdlineSuffix: z.string().optional(),
});

/** A case for `drover explain --cocos`; further fields (name, note, args, ...) are not looked at. */
export const CocosCase = z.object({
  /** The operator's whole environment. */
  env: z.record(z.string(), z.string()).default({}),
  perVm: PerVm.default({}),
  /** What Cocos's detection said of the host. */
  sevSnp: z.boolean().default(false),
  tdx: z.boolean().default(false),
  gpu: z.boolean().default(false),
  /** The PCI address that detection returned; only with `gpu`. */
  gpuDetectedBdf: z.string().default(""),
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
