import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";
import { attestationChecks } from "../../../src/worker/doctor/attestation-checks.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "drover-doctor-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const config = (env: Readonly<Record<string, string>> = {}) =>
  loadConfig({ HOME: dir, MANAGER_ATTESTATION_POLICY_BINARY_PATH: dir, ...env }).config;
const told = async (...asked: Parameters<typeof attestationChecks>) =>
  (await attestationChecks(...asked)).map(({ status, todo }) => `${status} ${todo ?? ""}`);

test("a plain host is asked nothing", async () => {
  expect(await told(config(), "none")).toEqual([]);
});

test("an SEV-SNP host needs igvmmeasure, and a PCR file that can be read where one is set", async () => {
  const env = { MANAGER_PCR_VALUES: join(dir, "pcr.json") };
  expect(await told(config(env), "snp")).toEqual([
    expect.stringMatching(/^warning .*igvmmeasure cannot be run \(ENOENT\).*MANAGER_ATTESTATION_POLICY_BINARY_PATH/),
    expect.stringMatching(/^warning MANAGER_PCR_VALUES: .*cannot be read \(ENOENT\)/),
  ]);
  writeFileSync(join(dir, "igvmmeasure"), "#!/bin/sh\n");
  chmodSync(join(dir, "igvmmeasure"), 0o755);
  expect(await told(config(), "snp")).toEqual(["ok "]);
});

test("a TDX host needs the registers' values", async () => {
  expect(await told(config(), "tdx")).toEqual([expect.stringContaining("set DROVER_TDX_MEASUREMENTS")]);
});
