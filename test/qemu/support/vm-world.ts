import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { onTestFinished } from "vitest";
import { findByUuid } from "../../../src/qemu/process-scan.ts";
import type { RunningQemu } from "../../../src/qemu/running-qemu.ts";
import { type StartOptions, startQemu } from "../../../src/qemu/start-qemu.ts";
import type { QemuObservation } from "../../../src/qemu/supervision.ts";
import { makeVmDirectory } from "../../../src/qemu/vm-directory.ts";
import { type VmPaths, vmPaths } from "../../../src/qemu/vm-paths.ts";
import { killProcess } from "../../../src/runtime/end-process.ts";
import type { ProcessIdentity } from "../../../src/runtime/process-identity.ts";
import { waitFor } from "../../helpers/wait-for.ts";
import { type RomGuest, writeRom } from "./rom-guest.ts";

const QEMU = "qemu-system-x86_64";

/** A state directory and one VM in it, with everything that a test may start in it; all of it goes with the world. */
export interface VmWorld extends AsyncDisposable {
  readonly stateDir: string;
  readonly vmId: string;
  readonly paths: VmPaths;
  readonly observations: QemuObservation[];
  /** drover's layer of the command line, for a machine with the given guest. */
  args(guest?: RomGuest | "none"): Promise<string[]>;
  start(args: readonly string[], options?: Partial<StartOptions>): Promise<RunningQemu>;
  /** Ends with the world. */
  own(qemu: RunningQemu): RunningQemu;
}

export const FAKE_QEMU = fileURLToPath(new URL("../../fixtures/fake-qemu.mjs", import.meta.url));
/** Enough for every rung on a busy machine, short enough to see a rung that hangs. */
export const STOP_BOUNDS = { powerdownMs: 5_000, quitMs: 5_000, termMs: 5_000 };

export async function openVmWorld(): Promise<VmWorld> {
  const stateDir = await mkdtemp(join(tmpdir(), "dq-"));
  const vmId = randomUUID();
  const paths = vmPaths({ stateDir, vmId, epoch: 1 });
  await makeVmDirectory(paths);
  const observations: QemuObservation[] = [];
  const started: RunningQemu[] = [];
  const own = (qemu: RunningQemu) => {
    started.push(qemu);
    return qemu;
  };
  const close = async () => {
    await Promise.all(started.map((qemu) => qemu.detach()));
    for (const left of findByUuid(vmId)) await killProcess(left);
    await rm(stateDir, { recursive: true, force: true });
  };
  onTestFinished(close); // a test that times out never comes to its own end
  return {
    stateDir,
    vmId,
    paths,
    observations,
    async args(guest = "none") {
      const machine =
        guest === "none"
          ? ["-machine", "none"]
          : ["-machine", "q35", "-m", "16M", "-bios", join(stateDir, "guest.rom")];
      if (guest !== "none") await writeRom(join(stateDir, "guest.rom"), guest);
      return [...machine, ...droverLayer(vmId, paths, guest !== "none")];
    },
    async start(args, options = {}) {
      const qemu = await startQemu({
        binPath: QEMU,
        args,
        vmId,
        paths,
        rings: { console: true, result: true },
        qmpTimeoutMs: 20_000,
        signal: new AbortController().signal,
        onObservation: (observation) => observations.push(observation),
        ...options,
      });
      return own(qemu);
    },
    own,
    [Symbol.asyncDispose]: close,
  };
}

function droverLayer(vmId: string, paths: VmPaths, hasSerialPort: boolean): string[] {
  return [
    ...["-accel", "tcg", "-display", "none", "-nodefaults", "-no-user-config"],
    ...["-uuid", vmId, "-name", `drover-${vmId}-1`, "-pidfile", paths.pidFile, "-no-shutdown"],
    ...["-qmp", `unix:${paths.qmpSocket},server=on,wait=off`],
    ...["-qmp", `unix:${paths.qmpRescueSocket},server=on,wait=off`],
    ...["-chardev", "ringbuf,id=console,size=1048576", "-chardev", "ringbuf,id=result,size=262144"],
    ...(hasSerialPort ? ["-serial", "chardev:console", "-device", "pvpanic"] : []),
  ];
}

/** Starts a QEMU as a worker does that dies right after: its parent is gone, nobody of us can wait for it. */
export async function startOrphan(world: VmWorld, args: readonly string[]): Promise<ProcessIdentity> {
  const shell = ["-c", 'setsid "$@" </dev/null >"$0" 2>&1 &', world.paths.qemuLog, QEMU, ...args];
  await execa("sh", shell, { stdio: "ignore" });
  const [orphan] = await waitFor(() => {
    const found = findByUuid(world.vmId);
    return found.length === 1 && existsSync(world.paths.qmpRescueSocket) ? found : undefined;
  });
  if (orphan === undefined) throw new Error("QEMU was not started");
  return { pid: orphan.pid, startTimeTicks: orphan.startTimeTicks };
}

/** A port of this machine that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
