import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FailureList, FailuresDismissed, FailuresRetried } from "../../src/contract/failure-view.ts";
import type { ForensicsView } from "../../src/contract/forensics.ts";
import type { VmDetail } from "../../src/contract/vm-view.ts";
import type { StartedWorker } from "../../src/worker/worker-stop.ts";
import { allOfRedis, canariesIn, SECRET_FIELDS } from "../helpers/canaries.ts";
import { killMachine } from "../helpers/machine-of.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

const MISSING = "/nope/bzImage";
const PAGE = "docs/troubleshooting.md";

describe("what is kept of a launch that failed", () => {
  const host = sharedDrover({
    rom: "idle",
    worker: false,
    env: { DROVER_SECRETS_KEY: `k1:${Buffer.alloc(32, 7).toString("base64")}`, DROVER_STOP_POWERDOWN_TIMEOUT: "0" },
  });
  let worker: StartedWorker;
  beforeAll(async () => {
    worker = await host().runWorker();
  });
  afterAll(() => worker.stop("stop"));

  /** The details of all failed launches, once their files are looked at. */
  const kept = (vmId: string): Promise<readonly ForensicsView[]> =>
    waitFor(
      async () => {
        const { forensics } = await host().get(vmId);
        return forensics?.every(({ files }) => files !== null) === true ? forensics : undefined;
      },
      { what: "the digests of the launch's files" },
    );
  const sha256 = (path = "") => createHash("sha256").update(readFileSync(path)).digest("hex");
  const failures = async (query = "") =>
    FailureList.parse(await (await host().call(`/v1/failures${query}`)).json()).items;
  const step = async (group: string, action: string) =>
    (await host().call(`/v1/failures/${encodeURIComponent(group)}/${action}`, { method: "POST" })).json();

  test("a panic: the command, the files, each of the attempts", async () => {
    await host().chooseGuest("panic");
    const vmId = await host().submit({ attempts: 2, ...SECRET_FIELDS });
    const vm = await host().until(vmId, "failed");
    const launches = await kept(vmId);
    expect(launches.map(({ epoch }) => epoch)).toEqual([1, 2]);
    for (const [index, launch] of launches.entries()) {
      expect(launch).toMatchObject({
        host: vm.host,
        port: vm.launches[index]?.port,
        cause: { code: "guest_panic" },
        exit: null,
        qemuVersion: expect.stringMatching(/^\d+\.\d+/),
      });
      expect(launch.command).toContain(`drover-${vmId}-${launch.epoch}`);
      expect(launch.command).toContain("agent.aa_kbc_params=***");
      expect(launch.files).toMatchObject([
        { role: "kernel", sha256: sha256(host().config.qemu.kernelFile), bytes: 8 * 1024, problem: null },
        { role: "initrd", sha256: sha256(host().config.qemu.rootFsFile), bytes: 512 },
      ]);
    }
    expect(canariesIn(JSON.stringify([vm, launches]))).toEqual([]);
    expect(canariesIn(await allOfRedis(host().client))).toEqual([]);
  });

  test("the command runs by hand as docs/troubleshooting.md says, without the launch's own files", async () => {
    await host().chooseGuest("poweroff");
    const vmId = await host().submit();
    const { command } = await host().until(vmId, "completed");
    const [, recipe = ""] = /```text\n(dir=\$\(mktemp -d\)[\s\S]*?)```/.exec(readFileSync(PAGE, "utf8")) ?? [];
    const script = recipe.replace("drover get $ID --command", 'printf "%s\\n" "$COMMAND"');
    expect(script).not.toBe(recipe);
    const scratch = mkdtempSync(join(tmpdir(), "drv-by-hand-"));
    try {
      const run = (options: { readonly COMMAND: string | null }) =>
        execa("bash", ["-euo", "pipefail", "-c", script], {
          env: { COMMAND: options.COMMAND ?? "", TMPDIR: scratch },
          reject: false,
          all: true,
          stdin: "ignore",
          timeout: 30_000,
        });
      expect(await run({ COMMAND: command })).toMatchObject({ exitCode: 0 }); // the guest powers itself off
      const broken = await run({ COMMAND: command?.replace(host().config.qemu.kernelFile, MISSING) ?? null });
      expect([broken.exitCode, broken.all]).toEqual([
        1,
        expect.stringContaining(`could not open kernel file '${MISSING}'`),
      ]);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  });

  test("a QEMU that a signal ended: the signal, and what QEMU told before it went", async () => {
    await host().chooseGuest("idle");
    const end = async (signal: NodeJS.Signals) => {
      const vmId = await host().submit({ attempts: 1 });
      await host().until(vmId, "running");
      killMachine(vmId, signal);
      await host().until(vmId, "failed");
      return kept(vmId);
    };
    expect(await end("SIGSEGV")).toMatchObject([
      { cause: { code: "qemu_crashed" }, exit: { exitCode: null, signal: "SIGSEGV" } },
    ]);
    const [killed] = await end("SIGTERM");
    expect(killed).toMatchObject({ cause: { code: "qemu_killed" }, exit: { exitCode: 0, signal: null } });
    expect(killed?.qmpEvents.at(-1)).toMatchObject({
      name: "SHUTDOWN",
      data: expect.stringContaining('"reason":"host-signal"'),
    });
    expect(killed?.qemuTail).toContain("terminating on signal 15");
  });

  test("a kernel that is not there: what QEMU said and which file it was; the group is retried, then dismissed", async () => {
    await worker.stop("stop");
    worker = await host().runWorker({ MANAGER_QEMU_DISK_IMG_KERNEL_FILE: MISSING });
    const vmIds: string[] = [];
    const vms: VmDetail[] = [];
    for (let count = 0; count < 2; count++) {
      const vmId = await host().submit();
      vmIds.push(vmId);
      vms.push(await host().until(vmId, "failed"));
    }
    const [launch] = await kept(vmIds[0] ?? "");
    expect(launch).toMatchObject({ exit: { exitCode: 1, signal: null }, qmpEvents: [] });
    expect(launch?.qemuTail).toContain(`could not open kernel file '${MISSING}'`);
    expect(launch?.files?.[0]).toMatchObject({ role: "kernel", path: MISSING, sha256: null, problem: "ENOENT" });
    const id = `kernel_missing@${vms[0]?.host}`;
    expect(await failures("?cause=kernel_missing")).toMatchObject([
      { id, failed: 2, retryable: 2, fault: "host", example: { vmId: vmIds[1] } },
    ]);
    const retried = FailuresRetried.parse(await step(id, "retry"));
    expect(retried).toEqual({ retried: 2, refused: [], next: null });
    for (const vmId of vmIds) await host().untilEvent(vmId, "vm.failed", 2);
    expect((await kept(vmIds[0] ?? "")).map(({ epoch }) => epoch)).toEqual([1, 2]);
    await waitFor(async () => (await failures("?cause=kernel_missing"))[0]?.failed === 2, { what: "the group again" });
    let left: string | null = "";
    let dismissed = 0;
    while (left !== null) {
      const query = left === "" ? "" : `?cursor=${left}`;
      const done = FailuresDismissed.parse(await step(id, `dismiss${query}`));
      dismissed += done.dismissed;
      left = done.next;
    }
    expect([dismissed, await failures("?cause=kernel_missing")]).toEqual([2, []]);
    expect(await host().get(vmIds[0] ?? "")).toMatchObject({ state: "failed", dismissed: { by: "local" } });
  });
});
