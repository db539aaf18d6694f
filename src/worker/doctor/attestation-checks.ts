import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { igvmmeasurePath } from "../../attestation/igvmmeasure.ts";
import { PolicyInputError, readPcrValues, readTdxRegisters } from "../../attestation/policy-file.ts";
import type { Config } from "../../runtime/config-shape.ts";
import { errnoOf } from "../../runtime/errno.ts";
import type { Check } from "./check.ts";

/** Whether attestation policies can be made of this host's VMs. VMs run all the same, so that nothing is a problem. */
export async function attestationChecks(config: Config, platform: "none" | "snp" | "tdx"): Promise<readonly Check[]> {
  if (platform === "none") return [];
  const missing = platform === "snp" ? await missingOfSnp(config) : await missingOfTdx(config);
  if (missing.length === 0)
    return [{ id: "attestation", area: "host", status: "ok", text: "attestation policies can be made of its VMs" }];
  return missing.map((todo) => ({
    id: "attestation",
    area: "host",
    status: "warning",
    text: "there can be no attestation policy for VMs of this host",
    todo,
  }));
}

async function missingOfSnp({ manager }: Config): Promise<readonly string[]> {
  const binary = igvmmeasurePath(manager.attestationPolicyBinaryPath);
  const [runnable, pcrValues] = await Promise.all([
    access(binary, constants.X_OK).then(
      () => undefined,
      (error: unknown) =>
        `${binary} cannot be run (${errnoOf(error) ?? "unknown"}): put igvmmeasure there, or mend MANAGER_ATTESTATION_POLICY_BINARY_PATH.`,
    ),
    manager.pcrValues === "" ? undefined : problemOf(readPcrValues(manager.pcrValues)),
  ]);
  return [runnable, pcrValues].flatMap((problem) => problem ?? []);
}

async function missingOfTdx({ attestation }: Config): Promise<readonly string[]> {
  const problem = await problemOf(readTdxRegisters(attestation.tdxMeasurements));
  return problem === undefined ? [] : [problem];
}

async function problemOf(reading: Promise<unknown>): Promise<string | undefined> {
  try {
    await reading;
    return undefined;
  } catch (error) {
    if (error instanceof PolicyInputError) return error.message;
    throw error;
  }
}
