import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readPcrValues, readTdxRegisters } from "../../../src/attestation/policy-file.ts";

const SHA256 = "0a".repeat(32);
const SHA384 = "0b".repeat(48);
const REGISTERS = { mrtd: SHA384, mrseam: SHA384, rtmr0: SHA384, rtmr1: SHA384, rtmr2: SHA384, rtmr3: "0".repeat(96) };
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "drover-policy-files-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(content: unknown): string {
  const path = join(dir, "values.json");
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

test("the PCR file of Cocos's scripts is read, in either case of its digits", async () => {
  const banks = { sha256: { "0": SHA256.toUpperCase(), "9": SHA256 }, sha384: { "0": SHA384 } };
  expect(await readPcrValues(file({ pcr_values: banks }))).toEqual({
    sha256: { "0": SHA256, "9": SHA256 },
    sha384: { "0": SHA384 },
  });
});

test("a file that has no end is not read", async () => {
  const fifo = join(dir, "fifo");
  execFileSync("mkfifo", [fifo]);
  for (const path of [fifo, "/dev/zero", dir])
    await expect(readPcrValues(path)).rejects.toThrow(`MANAGER_PCR_VALUES: ${path} is no regular file`);
});

test.each([
  ["no JSON", "{", /is not JSON/],
  ["another shape", { sha256: {} }, /is not as it should be/],
  ["no bank", { pcr_values: {} }, /needs sha256, sha384 or both/],
  ["an empty bank", { pcr_values: { sha256: {} } }, /pcr_values\.sha256: has no register/],
  ["a short value", { pcr_values: { sha256: { "0": "0a" } } }, /pcr_values\.sha256\.0: must be 64 hex digits/],
  ["a value of the other bank", { pcr_values: { sha384: { "0": SHA256 } } }, /must be 96 hex digits/],
  ["register 24", { pcr_values: { sha256: { "24": SHA256 } } }, /a register is "0" to "23"/],
  ["register 01", { pcr_values: { sha256: { "01": SHA256 } } }, /a register is/],
])("a PCR file with %s is refused by name, with the way out", async (_what, content, message) => {
  const reading = readPcrValues(file(content));
  await expect(reading).rejects.toThrow(message);
  await expect(reading).rejects.toThrow(/^MANAGER_PCR_VALUES: .*unset MANAGER_PCR_VALUES/);
});

test("a file that is not there, or far too large", async () => {
  await expect(readPcrValues(join(dir, "none.json"))).rejects.toThrow(/cannot be read \(ENOENT\)/);
  await expect(readPcrValues(file(" ".repeat(1024 * 1024 + 1)))).rejects.toThrow(/more than 1048576/);
});

test("TDX registers are read, and never made up", async () => {
  expect(await readTdxRegisters(file(REGISTERS))).toEqual(REGISTERS);
  await expect(readTdxRegisters("")).rejects.toThrow(/set DROVER_TDX_MEASUREMENTS on its host/);
  const { rtmr2: _missing, ...five } = REGISTERS;
  await expect(readTdxRegisters(file(five))).rejects.toThrow(/^DROVER_TDX_MEASUREMENTS: .*rtmr2.*each 96 hex digits/);
  await expect(readTdxRegisters(file({ ...REGISTERS, mrtd: SHA256 }))).rejects.toThrow(/mrtd: must be 96 hex digits/);
  await expect(readTdxRegisters(file({ ...REGISTERS, mrtdx: SHA384 }))).rejects.toThrow(/mrtdx/);
});
