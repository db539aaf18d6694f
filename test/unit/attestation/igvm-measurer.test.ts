import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { IgvmMeasurer } from "../../../src/attestation/igvm-measurer.ts";
import { runIgvmmeasure } from "../../../src/attestation/igvmmeasure.ts";
import { readStartTime } from "../../../src/runtime/process-identity.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const MEASUREMENT = "0a".repeat(48);
const FOREVER = new AbortController().signal;
let dir: string;
let igvm: string;
let nowMs = 0;
const clock = { monotonicMs: () => nowMs };

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "drover-igvm-"));
  igvm = join(dir, "-guest.igvm");
  writeFileSync(igvm, "first");
  nowMs = 0;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** An igvmmeasure that notes each run with its arguments, and then does what the shell lines say. */
function program(lines: string): string {
  const path = join(dir, "igvmmeasure");
  writeFileSync(path, `#!/bin/sh\necho "$$ $*" >> "${dir}/runs"\n${lines}\n`);
  chmodSync(path, 0o755);
  return path;
}

function runs(): readonly string[] {
  const path = join(dir, "runs");
  return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
}

function measurer(options: { waitMaxMs?: number } = {}): IgvmMeasurer {
  return new IgvmMeasurer({ binaryDir: dir, stateDir: join(dir, "state"), clock, ...options });
}

describe("igvmmeasure", () => {
  test("is asked as Cocos asks it, and its line is really read", async () => {
    const binary = program(`echo "  ${MEASUREMENT.toUpperCase()}"`);
    expect(await runIgvmmeasure({ binary, igvmFile: igvm }, { signal: FOREVER })).toBe(MEASUREMENT);
    expect(runs().map((line) => line.replace(/^\d+ /, ""))).toEqual([`${igvm} measure -b`]);
  });

  test("gets nothing of the worker's environment", async () => {
    const binary = program(`env > "${dir}/env"; echo ${MEASUREMENT}`);
    process.env["DROVER_SECRETS_KEY"] = "k:canary";
    try {
      await runIgvmmeasure({ binary, igvmFile: igvm }, { signal: FOREVER });
    } finally {
      delete process.env["DROVER_SECRETS_KEY"];
    }
    expect(readFileSync(join(dir, "env"), "utf8")).not.toMatch(/canary|HOME=/);
  });

  test.each([
    ["two lines", `echo ${MEASUREMENT}; echo more`, /no measurement of 96 hex digits in one line: ".* more"/],
    ["nothing", "true", /it said nothing/],
    ["64 digits", `echo ${"0a".repeat(32)}`, /no measurement/],
    ["no hex", `echo ${"0g".repeat(48)}`, /no measurement/],
    ["an exit code", "echo no such platform >&2; exit 3", /failed \(exit code 3\): "no such platform"/],
    ["a signal", "kill -9 $$", /failed \(ended by SIGKILL\)/],
    ["endless output", "yes", /failed/],
  ])("that says %s gives a clear error", async (_what, lines, message) => {
    const binary = program(lines);
    await expect(runIgvmmeasure({ binary, igvmFile: igvm }, { signal: FOREVER })).rejects.toThrow(message);
  });

  test("that is not there names the variable", async () => {
    const binary = join(dir, "igvmmeasure");
    await expect(runIgvmmeasure({ binary, igvmFile: igvm }, { signal: FOREVER })).rejects.toThrow(
      /could not be started \(ENOENT\).*MANAGER_ATTESTATION_POLICY_BINARY_PATH/,
    );
    writeFileSync(binary, "");
    await expect(runIgvmmeasure({ binary, igvmFile: igvm }, { signal: FOREVER })).rejects.toThrow(/\(EACCES\)/);
  });

  test("that hangs is ended in time, and so is one whose worker ends", async () => {
    const binary = program("exec sleep 60");
    const order = { binary, igvmFile: igvm };
    await expect(runIgvmmeasure(order, { signal: FOREVER, timeoutMs: 300 })).rejects.toThrow(/not done after 300 ms/);
    const stop = new AbortController();
    const running = runIgvmmeasure(order, { signal: stop.signal });
    await waitFor(() => runs().length === 2, { what: "the second run" });
    stop.abort(new Error("the worker ends"));
    await expect(running).rejects.toThrow("the worker ends");
    for (const line of runs()) expect(readStartTime(Number(line.split(" ")[0]))).toBeUndefined();
  });
});

describe("the measurer", () => {
  test("runs once for one content: for launches at the same time, later ones, and the next worker", async () => {
    program(`sleep 0.1; echo ${MEASUREMENT}`);
    const first = measurer();
    const all = await Promise.all([1, 2, 3].map(() => first.measure(igvm, FOREVER)));
    expect(new Set(all.map(({ measurement }) => measurement))).toEqual(new Set([MEASUREMENT]));
    await first.measure(igvm, FOREVER);
    const kept = await measurer().measure(igvm, FOREVER);
    expect(kept).toEqual(all[0]);
    expect(runs()).toHaveLength(1);
    const cache = join(dir, "state", "igvm-measurements");
    expect(readdirSync(cache)).toEqual([kept.igvmDigest]);
    expect(statSync(cache).mode & 0o777).toBe(0o700);
  });

  test("runs again for another content at the same path, and does not believe a damaged note", async () => {
    program(`echo ${MEASUREMENT}`);
    const one = measurer();
    const before = await one.measure(igvm, FOREVER);
    writeFileSync(igvm, "second one");
    const after = await one.measure(igvm, FOREVER);
    expect(after.igvmDigest).not.toBe(before.igvmDigest);
    expect(runs()).toHaveLength(2);
    writeFileSync(join(dir, "state", "igvm-measurements", after.igvmDigest), "0a0b");
    await measurer().measure(igvm, FOREVER);
    expect(runs()).toHaveLength(3);
  });

  test("tries a failure again only after a while", async () => {
    program("exit 1");
    const one = measurer();
    await expect(one.measure(igvm, FOREVER)).rejects.toThrow(/exit code 1/);
    await expect(one.measure(igvm, FOREVER)).rejects.toThrow(/exit code 1/);
    expect(runs()).toHaveLength(1);
    program(`echo ${MEASUREMENT}`);
    nowMs = 60_001;
    expect((await one.measure(igvm, FOREVER)).measurement).toBe(MEASUREMENT);
  });

  test("notices a file that changes under the program", async () => {
    program(`echo other > "${igvm}"; echo ${MEASUREMENT}`);
    await expect(measurer().measure(igvm, FOREVER)).rejects.toThrow(/changed while it was measured/);
  });

  test("does not hold up a launch that is stopped, and ends its program with the worker", async () => {
    program("exec sleep 60");
    const one = measurer();
    const stop = new AbortController();
    const stopped = one.measure(igvm, stop.signal);
    const waiting = one.measure(igvm, FOREVER);
    await waitFor(() => runs().length === 1, { what: "the run" });
    stop.abort(new Error("removed"));
    await expect(stopped).rejects.toThrow("removed");
    one.close();
    await expect(waiting).rejects.toThrow("the worker ends");
  });

  test("does not hold up a launch for long, and the next one has what the run gave", async () => {
    program(`while [ ! -e "${dir}/go" ]; do sleep 0.02; done; echo ${MEASUREMENT}`);
    const one = measurer({ waitMaxMs: 100 });
    await expect(one.measure(igvm, FOREVER)).rejects.toThrow(/not measured within 100 ms/);
    writeFileSync(join(dir, "go"), "");
    const { measurement } = await waitFor(() => one.measure(igvm, FOREVER), { what: "the run" });
    expect([measurement, runs().length]).toEqual([MEASUREMENT, 1]);
  });

  test("says which file is missing", async () => {
    await expect(measurer().measure(join(dir, "none"), FOREVER)).rejects.toThrow(
      /MANAGER_QEMU_IGVM_FILE: .*none cannot be read \(ENOENT\)/,
    );
  });
});
