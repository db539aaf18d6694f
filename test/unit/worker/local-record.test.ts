import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DamagedFile } from "../../../src/qemu/durable-file.ts";
import { NewerRecord, newLocalRecord, parseLocalRecord } from "../../../src/worker/local-record.ts";

/** One record of every version that a host may have on disk; written once by that version, never changed. */
const GOLDENS = join(import.meta.dirname, "../../fixtures/local-records");
const golden = (name: string) => JSON.parse(readFileSync(join(GOLDENS, name), "utf8"));

test("there is a golden record of every version up to this one", () => {
  expect(readdirSync(GOLDENS).sort()).toEqual(["v1.json", "v2.json"]);
});

test.each(["v1.json", "v2.json"])("%s is read, and what it does not know is unknown", (name) => {
  const record = parseLocalRecord(golden(name), name);
  expect(record).toMatchObject({
    v: 2,
    vmId: "8d0cbd5e-6b51-4cf2-9c1a-1c2b3d4e5f60",
    epoch: 2,
    pid: 4711,
    port: 6101,
    job: { owner: "local", pool: "default", spec: { name: "golden", ttl: "1h" } },
  });
  if (name === "v1.json") expect(record).toMatchObject({ state: "starting", snapshot: null, runningAtMs: null });
  else expect(record).toEqual(golden(name));
});

test("what this version writes is what the golden record of this version looks like", () => {
  const job = {
    vmId: crypto.randomUUID(),
    pool: "default",
    token: "t",
    epoch: 1,
    data: { ok: false, problem: "", newer: false },
  } as const;
  const fresh = newLocalRecord({ hostId: "h", stateId: "s", bootId: "b" }, job, 1);
  expect(Object.keys(fresh).sort()).toEqual(Object.keys(golden("v2.json")).sort());
});

test("a newer version's record is left alone, and one that fits no version is damaged", () => {
  expect(() => parseLocalRecord({ ...golden("v2.json"), v: 3 }, "x")).toThrow(NewerRecord);
  expect(() => parseLocalRecord({ ...golden("v2.json"), epoch: 0 }, "x")).toThrow(DamagedFile);
  expect(() => parseLocalRecord({ ...golden("v1.json"), pid: "4711" }, "x")).toThrow(DamagedFile);
});
