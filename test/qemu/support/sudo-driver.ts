import { attachQemu } from "../../../src/qemu/attach-qemu.ts";
import { droverArgs } from "../../../src/qemu/drover-args.ts";
import { findConfinement, sudoProblem } from "../../../src/qemu/find-confinement.ts";
import { findLaunchesOf } from "../../../src/qemu/process-scan.ts";
import { startQemu } from "../../../src/qemu/start-qemu.ts";
import { makeVmDirectory } from "../../../src/qemu/vm-directory.ts";
import { vmPaths } from "../../../src/qemu/vm-paths.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";
import { bootId } from "../../../src/runtime/process-identity.ts";

/**
 * What a worker that is not root does with a QEMU under sudo, as a process of that user:
 * `sudo-driver ask | start | stop <state directory> <vm id> [sigterm | sigkill]`. Prints one line of JSON.
 */
const [, , what = "", stateDir = "", vmId = "", rung = "sigterm"] = process.argv;

const { config } = loadConfig({ DROVER_STATE_DIR: stateDir, MANAGER_QEMU_USE_SUDO: "true" });
const confinement = await findConfinement(config);
const paths = vmPaths({ stateDir, vmId, epoch: 1 });
const common = { vmId, paths, rings: { console: true, result: false }, qmpTimeoutMs: 20_000 };
const { signal } = new AbortController();

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

if (what === "ask") {
  say({ problem: (await sudoProblem(confinement, config.qemu.binPath))?.problem ?? null });
} else if (what === "start") {
  await makeVmDirectory(paths);
  const layer = droverArgs({
    vmId,
    epoch: 1,
    pidFile: paths.pidFile,
    qmpSockets: [paths.qmpSocket, paths.qmpRescueSocket],
    tee: "none",
    shares: { certs: false, env: false },
    sharesReadonly: false,
    sandbox: true,
    resultPort: false,
    endOnReboot: false,
  });
  const machine = ["-machine", "q35", "-accel", "tcg", "-m", "16M", "-display", "none", "-nodefaults", "-S"];
  try {
    const qemu = await startQemu({
      ...common,
      binPath: config.qemu.binPath,
      args: [...machine, ...layer],
      confinement,
      signal,
    });
    say({ pid: qemu.pid, startTimeTicks: qemu.startTimeTicks, found: findLaunchesOf(stateDir) });
    await qemu.detach();
  } catch (error) {
    say({ failure: error instanceof Error && "failure" in error ? error.failure : String(error) });
  }
} else {
  const [launch] = findLaunchesOf(stateDir);
  if (launch === undefined) throw new Error("no QEMU lives here");
  const qemu = await attachQemu({ ...common, ...launch, bootId: bootId(), signal });
  const ms = 10_000;
  const bounds = { powerdownMs: 0, quitMs: 0, termMs: rung === "sigkill" ? 0 : ms };
  say({ ...(await qemu.stop({ bounds })), left: findLaunchesOf(stateDir) });
}
process.exit(0);
