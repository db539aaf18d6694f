import { readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { PcrBanks, Sha256Hex, Sha384Hex, TdxRegisters } from "../contract/attestation-record.ts";
import { errnoOf } from "../runtime/errno.ts";

const FILE_MAX_BYTES = 1024 * 1024;
/** A TPM has this many registers. */
const PCR_COUNT = 24;

/** Why a value of a policy is not to be had. The message names the variable, what is wrong, and the way out. */
export class PolicyInputError extends Error {
  override readonly name = "PolicyInputError";
}

const isRegister = (name: string): boolean => /^(0|[1-9]\d?)$/.test(name) && Number(name) < PCR_COUNT;
const bank = (value: typeof Sha256Hex) =>
  z
    .record(z.string(), z.string().toLowerCase().pipe(value))
    .refine((registers) => Object.keys(registers).length > 0, { message: "has no register" })
    .refine((registers) => Object.keys(registers).every(isRegister), {
      message: `a register is "0" to "${PCR_COUNT - 1}"`,
    });

/** The file of Cocos's scripts: `{"pcr_values": {"sha256": {"0": "<hex>", ...}, "sha384": {...}}}`. */
const PcrFile = z.strictObject({
  pcr_values: z
    .strictObject({
      sha256: bank(Sha256Hex).optional(),
      sha384: bank(Sha384Hex).optional(),
    })
    .refine(({ sha256, sha384 }) => sha256 !== undefined || sha384 !== undefined, {
      message: "needs sha256, sha384 or both",
    }),
});

const TdxFile = z.strictObject(
  Object.fromEntries(
    Object.entries(TdxRegisters.shape).map(([name, value]) => [name, z.string().toLowerCase().pipe(value)]),
  ),
);

/** The expected PCR values of MANAGER_PCR_VALUES. Throws {@link PolicyInputError}. */
export async function readPcrValues(path: string): Promise<PcrBanks> {
  const wayOut = "Mend the file, or unset MANAGER_PCR_VALUES for policies without PCR values.";
  const { pcr_values } = await readPolicyFile({ path, variable: "MANAGER_PCR_VALUES", wayOut }, PcrFile);
  return PcrBanks.parse(pcr_values);
}

/** The expected registers of DROVER_TDX_MEASUREMENTS. Throws {@link PolicyInputError}, also where none is set. */
export async function readTdxRegisters(path: string): Promise<TdxRegisters> {
  const variable = "DROVER_TDX_MEASUREMENTS";
  if (path === "") {
    throw new PolicyInputError(
      `nobody has said what a TDX guest's registers must hold: set ${variable} on its host to a JSON file with mrtd, mrseam and rtmr0 to rtmr3`,
    );
  }
  const wayOut = "It needs mrtd, mrseam, rtmr0, rtmr1, rtmr2 and rtmr3, each 96 hex digits.";
  return TdxRegisters.parse(await readPolicyFile({ path, variable, wayOut }, TdxFile));
}

async function readPolicyFile<T extends z.ZodType>(
  { path, variable, wayOut }: { path: string; variable: string; wayOut: string },
  schema: T,
): Promise<z.infer<T>> {
  const fail = (problem: string): PolicyInputError =>
    new PolicyInputError(`${variable}: ${path} ${problem}. ${wayOut}`);
  let text: string;
  try {
    const found = await stat(path);
    if (!found.isFile()) throw fail("is no regular file");
    const { size } = found;
    if (size > FILE_MAX_BYTES) throw fail(`has ${size} bytes, more than ${FILE_MAX_BYTES}`);
    text = await readFile(path, "utf8");
  } catch (error) {
    throw error instanceof PolicyInputError ? error : fail(`cannot be read (${errnoOf(error) ?? "unknown"})`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw fail("is not JSON");
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [first] = parsed.error.issues;
  throw fail(`is not as it should be: ${first?.path.join(".") ?? ""}: ${first?.message ?? ""}`);
}
