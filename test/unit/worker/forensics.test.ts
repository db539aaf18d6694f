import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { pino } from "pino";
import { expect, test } from "vitest";
import { Forensics, type LaunchFiles } from "../../../src/contract/forensics.ts";
import { FORENSICS_MAX_BYTES } from "../../../src/contract/limits.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";
import { forensicsOf } from "../../../src/worker/forensics.ts";
import { launchFromDisk } from "../../../src/worker/launch.ts";
import { LaunchEvidence, type LaunchEvidenceDeps } from "../../../src/worker/launch-evidence.ts";
import { openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const worker = openFakeWorker();
const { paths } = worker.leave();
const [record] = worker.records.values();
if (record === undefined) throw new Error("no launch");
const launch = launchFromDisk(record, undefined, paths);
const cause = { code: "qemu_crashed", message: "QEMU ended by SIGSEGV" } as const;
const end = { kind: "failure", cause, exit: { exitCode: null, signal: "SIGSEGV" } } as const;

test("what is kept of a failed launch says how it ended, and keeps the ends of what was printed", () => {
  const lines = Array.from({ length: 100 }, (_, n) => `line ${n}\n`).join("");
  const event = { name: "STOP", data: "{}", atMs: 5 };
  const outputs = { console: lines, qemu: "segfault\n", qmpEvents: [event] };
  const kept = forensicsOf({ ...launch, command: "qemu -uuid x" }, { cause, end, endedAtMs: 9 }, outputs);
  expect(Forensics.parse(kept)).toEqual(kept);
  expect(kept).toMatchObject({
    epoch: 1,
    host: "host-a",
    port: 6100,
    endedAtMs: 9,
    exit: end.exit,
    command: "qemu -uuid x",
  });
  expect(kept.qmpEvents).toEqual([event]);
  expect(kept.consoleTail.split("\n").slice(0, 2)).toEqual(["line 70", "line 71"]);
  expect(kept.consoleTail.endsWith("line 99\n")).toBe(true);
});

test("however much was printed, and whatever, it stays within its bound", () => {
  const big = fc
    .tuple(fc.constantFrom("a", "\u0000", '"', "é", "\u001b[0m\n", "\ud83d\ude80"), fc.nat(80_000))
    .map(([piece, times]) => piece.repeat(Math.ceil(times / piece.length)));
  fc.assert(
    fc.property(big, big, big, big, (console, qemu, command, data) => {
      const qmpEvents = Array.from({ length: 5 }, () => ({ name: "EVENT", data, atMs: 1 }));
      const failed = { cause, end, endedAtMs: 9 };
      const kept = forensicsOf({ ...launch, command }, failed, { console, qemu, qmpEvents });
      expect(Buffer.byteLength(JSON.stringify(kept))).toBeLessThanOrEqual(FORENSICS_MAX_BYTES);
      expect(kept.cause).toEqual(cause);
    }),
    { numRuns: 60 },
  );
});

/** Digests come when the test says so. */
function openEvidence(over: Partial<LaunchEvidenceDeps> = {}) {
  const noted: LaunchFiles[] = [];
  const asked: string[] = [];
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const log: string[] = [];
  const evidence = new LaunchEvidence({
    config: loadConfig({ HOME: "/h", DROVER_FIRMWARE: "seabios" }).config,
    tee: { kind: "none" } as LaunchEvidenceDeps["tee"],
    launches: { noteFiles: async (_vmId, files) => void noted.push(files) },
    digests: {
      digest: async (path, signal) => {
        asked.push(path);
        await gate;
        signal.throwIfAborted();
        return { bytes: 1, modifiedAtMs: 1, sha256: "00", problem: null };
      },
    },
    qemuVersion: async () => "7.2.22",
    logger: pino({ level: "trace" }, { write: (line) => log.push(line) }),
    ...over,
  });
  const failed = (epoch: number) => ({ spec: {}, identity: { ...launch.identity, vmId: randomUUID(), epoch } });
  return { evidence, noted, asked, log, release, failed };
}

test("launches are looked at one after the other, and a storm of failures is cut", async () => {
  const { evidence, noted, asked, release, failed } = openEvidence();
  for (let epoch = 1; epoch <= 150; epoch++) evidence.gather(failed(epoch));
  await waitFor(() => asked.length === 1, { what: "the first file" });
  expect(noted).toEqual([]);
  release();
  await waitFor(() => noted.length === 100, { what: "those that waited" });
  expect(noted[0]).toMatchObject({ epoch: 1, qemuVersion: "7.2.22", files: [{ role: "kernel" }, { role: "initrd" }] });
  evidence.gather(failed(151));
  await waitFor(() => noted.at(-1)?.epoch === 151, { what: "the next failure" });
  expect(noted).toHaveLength(101);
  await evidence.stop();
});

test("a Redis that takes nothing costs one note, and a stop gives up what is under way", async () => {
  const refusing = openEvidence({ launches: { noteFiles: () => Promise.reject(new Error("OOM")) } });
  refusing.release();
  refusing.evidence.gather(refusing.failed(1));
  await waitFor(() => refusing.log.length === 1, { what: "the warning" });
  expect(refusing.log[0]).toContain("were not written down");

  const stopping = openEvidence();
  stopping.evidence.gather(stopping.failed(1));
  await waitFor(() => stopping.asked.length === 1, { what: "the first file" });
  const stopped = stopping.evidence.stop();
  stopping.release();
  await stopped;
  stopping.evidence.gather(stopping.failed(2));
  expect([stopping.noted, stopping.log, stopping.asked.length]).toEqual([[], [], 1]);
});
