import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hostDataOf } from "../../../src/attestation/host-data.ts";
import { IgvmMeasurer } from "../../../src/attestation/igvm-measurer.ts";
import { AttestationRecord } from "../../../src/contract/attestation-record.ts";
import type { Tee } from "../../../src/contract/qemu-config.ts";
import type { VmSpec } from "../../../src/contract/vm-request.ts";
import type { RecordFields } from "../../../src/queue/launch-moves.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";
import { readStartTime } from "../../../src/runtime/process-identity.ts";
import { Scope } from "../../../src/runtime/scope.ts";
import { NO_TRACER } from "../../../src/runtime/tracing/tracer.ts";
import { launchFromDisk, toLive } from "../../../src/worker/launch.ts";
import { LaunchAttestor, openAttestor } from "../../../src/worker/launch-attestor.ts";
import { launchQemu } from "../../../src/worker/launch-qemu.ts";
import { LaunchTrace } from "../../../src/worker/launch-trace.ts";
import type { RunVmDeps } from "../../../src/worker/run-vm.ts";
import { SecretMask } from "../../../src/worker/secret-mask.ts";
import { StopRequest } from "../../../src/worker/stop-request.ts";
import { openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const MEASUREMENT = "0a".repeat(48);
const MEASURED = { igvmDigest: "0d".repeat(32), measurement: MEASUREMENT };
const SPEC: VmSpec = { name: "n", ttl: "90m" };
const PCRS = { sha256: { "0": "0c".repeat(32) } };
let dir: string;
let pcrFile: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "drover-attest-"));
  pcrFile = join(dir, "pcr_values.json");
  writeFileSync(pcrFile, JSON.stringify({ pcr_values: PCRS }));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Setting {
  readonly env?: Readonly<Record<string, string>>;
  readonly spec?: VmSpec;
  readonly tee?: Tee["kind"];
  readonly measure?: IgvmMeasurer["measure"];
  readonly stop?: StopRequest;
}

/** Launches a VM with the worker's own code, up to `running`, on a machine that only notes its arguments. */
async function launched({ env = {}, spec = SPEC, tee = "snp", measure, stop = new StopRequest() }: Setting) {
  const worker = openFakeWorker();
  const { config } = loadConfig({ HOME: "/state", ...env });
  const logger = pino({ level: "silent" });
  const moves: { readonly to: string; readonly fields: RecordFields | undefined }[] = [];
  const commands: (readonly string[])[] = [];
  const attestor =
    tee === "none"
      ? undefined
      : new LaunchAttestor({ config, platform: tee, measurer: { measure: measure ?? (async () => MEASURED) }, logger });
  const deps: RunVmDeps = {
    ...worker.deps,
    config,
    tee: { kind: tee },
    attestor,
    launches: {
      ...worker.deps.launches,
      move: async (_launch, { to, fields }) => {
        moves.push({ to, fields });
        return "done";
      },
    },
    ownership: {
      ...worker.deps.ownership,
      snapshot: async () => ({ state: "preparing", epoch: "1", host: "host-a", attestation: "of an earlier launch" }),
    },
    machine: {
      ...worker.deps.machine,
      start: async ({ args, onSpawned }) => {
        commands.push(args);
        await onSpawned?.({ pid: 7, startTimeTicks: 1 });
        return {
          pid: 7,
          startTimeTicks: 1,
          ended: new Promise(() => undefined),
          stop: async () => ({ rung: "quit", tookMs: 0 }),
          drainOutputs: async () => ({ console: "", qemu: "", result: Buffer.alloc(0) }),
          detach: async () => undefined,
          resume: async () => true,
        };
      },
    },
  };
  const { paths } = worker.leave({ state: "preparing", pid: null, port: 6100 }, spec);
  const local = worker.records.get(paths.record);
  if (local === undefined) throw new Error("no record");
  const launch = launchFromDisk(local, undefined, paths);
  const nothing = () => undefined;
  const trace = new LaunchTrace(NO_TRACER, launch);
  const mask = new SecretMask([]);
  const order = { launch, secrets: {}, mask, trace, stop, onConsole: nothing, onObservation: nothing };
  await launchQemu(deps, order);
  const starting = moves.find(({ to }) => to === "starting")?.fields?.["attestation"];
  const onDisk = worker.records.get(paths.record);
  if (onDisk === undefined) throw new Error("no record");
  return {
    record: starting == null ? undefined : AttestationRecord.parse(JSON.parse(starting)),
    starting,
    command: commands[0] ?? [],
    onDisk: onDisk.snapshot?.["attestation"],
    toldAgain: toLive(launchFromDisk(onDisk, undefined, paths)).fields["attestation"],
  };
}

test("a host measures at its start, and a worker that ends leaves no program behind", async () => {
  const binaryDir = mkdtempSync(join(dir, "bin-"));
  const binary = join(binaryDir, "igvmmeasure");
  const igvm = join(binaryDir, "guest.igvm");
  writeFileSync(igvm, "x");
  writeFileSync(binary, `#!/bin/sh\necho $$ > "${binaryDir}/pid"\nexec sleep 60\n`);
  chmodSync(binary, 0o755);
  const env = { MANAGER_ATTESTATION_POLICY_BINARY_PATH: binaryDir, MANAGER_QEMU_IGVM_FILE: igvm };
  const { config } = loadConfig({ HOME: binaryDir, ...env });
  const logger = pino({ level: "silent" });
  const scope = new Scope();
  expect(
    openAttestor(scope, { config, tee: { kind: "none" }, stateDir: dir, clock: systemClock, logger }),
  ).toBeUndefined();
  openAttestor(scope, { config, tee: { kind: "snp" }, stateDir: dir, clock: systemClock, logger });
  const pid = await waitFor(() => Number(readFileSync(join(binaryDir, "pid"), "utf8")), { what: "the program" });
  await scope.close();
  await waitFor(() => readStartTime(pid) === undefined, { what: "the program's end" });
});

describe("a launch on an SEV-SNP host", () => {
  test("writes down what was measured, with host data, SVN and PCR values, before QEMU is told of", async () => {
    const env = { MANAGER_QEMU_ENABLE_HOST_DATA: "true", DROVER_CORIM_SVN: "4", MANAGER_PCR_VALUES: pcrFile };
    const { record, command, starting, onDisk, toldAgain } = await launched({ env });
    const hostData = hostDataOf(SPEC);
    expect(record).toEqual({
      platform: "snp",
      epoch: 1,
      product: "EPYC",
      ...MEASURED,
      hostData: hostData.toString("hex"),
      svn: 4,
      pcrs: PCRS,
    });
    expect(command.find((word) => word.startsWith("sev-snp-guest,"))).toContain(
      `host-data=${hostData.toString("base64")}`,
    );
    expect([onDisk, toldAgain], "a Redis that loses it is told again").toEqual([starting, starting]);
  });

  test("gives no host data unless the operator says so", async () => {
    const { record, command } = await launched({});
    expect(record).not.toHaveProperty("hostData");
    expect(command.join(" ")).not.toContain("host-data");
  });

  test("never fails by igvmmeasure: why there is no policy is noted", async () => {
    const measurer = new IgvmMeasurer({ binaryDir: dir, stateDir: dir, clock: systemClock });
    const igvm = join(dir, "guest.igvm");
    writeFileSync(igvm, "x");
    const env = { MANAGER_QEMU_IGVM_FILE: igvm, MANAGER_QEMU_ENABLE_HOST_DATA: "true" };
    const { record } = await launched({ env, measure: (file, signal) => measurer.measure(file, signal) });
    expect(record).toMatchObject({
      hostData: hostDataOf(SPEC).toString("hex"),
      problem: expect.stringMatching(
        /igvmmeasure could not be started \(ENOENT\).*MANAGER_ATTESTATION_POLICY_BINARY_PATH/,
      ),
    });
    expect(record).not.toHaveProperty("measurement");
  });

  test("has no policy while its PCR values cannot be read: one without them would promise less", async () => {
    const { record } = await launched({ env: { MANAGER_PCR_VALUES: join(dir, "none.json") } });
    expect(record?.problem).toMatch(/MANAGER_PCR_VALUES: .*none\.json cannot be read \(ENOENT\)/);
  });

  test("of a VM that wants no TEE is a plain one, and what an earlier launch wrote is gone", async () => {
    const env = { MANAGER_QEMU_ENABLE_HOST_DATA: "true" };
    const { starting, command, onDisk, toldAgain } = await launched({ env, spec: { tee: "none" } });
    expect([starting, onDisk, toldAgain]).toEqual([null, undefined, null]);
    expect(command.join(" ")).not.toContain("sev-snp");
  });

  test("that is stopped while it is measured ends with the stop", async () => {
    const stop = new StopRequest();
    const measure = (_file: string, signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        stop.ask("requested", { force: false });
      });
    await expect(launched({ measure, stop })).rejects.toBe(stop.signal.reason);
  });
});

describe("a launch on a TDX host", () => {
  test("writes down the registers that the operator has given", async () => {
    const hex = "0b".repeat(48);
    const registers = { mrtd: hex, mrseam: hex, rtmr0: hex, rtmr1: hex, rtmr2: hex, rtmr3: hex };
    const path = join(dir, "tdx.json");
    writeFileSync(path, JSON.stringify(registers));
    const { record } = await launched({ tee: "tdx", env: { DROVER_TDX_MEASUREMENTS: path } });
    expect(record).toEqual({ platform: "tdx", epoch: 1, product: "EPYC", registers });
  });

  test("makes none up", async () => {
    const { record } = await launched({ tee: "tdx" });
    expect(record).toMatchObject({ problem: expect.stringContaining("set DROVER_TDX_MEASUREMENTS") });
    expect(record).not.toHaveProperty("registers");
  });
});

test("a launch on a plain host has no attestation", async () => {
  expect((await launched({ tee: "none" })).starting).toBeNull();
});
