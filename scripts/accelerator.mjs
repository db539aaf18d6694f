// Decides between KVM and TCG. That /dev/kvm opens proves little: in many virtual machines QEMU starts under KVM and the
// guest's kernel then hangs. So KVM is chosen only after the demo guest has really booted under it.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import { findCommand, run } from "../guest/build/command.mjs";

const DEADLINE_MS = 12_000;
/** A kernel that runs under KVM prints within milliseconds; this long a silence is a hang. */
const SILENCE_MS = 5_000;
const BOOTED = "drover-guest: exit code 0";

/**
 * @typedef {{ accel: "kvm" | "tcg", reason: string }} Choice
 */

/**
 * @param {object} options
 * @param {string} options.guestDir the demo guest's image
 * @param {string} options.stateDir where the outcome is kept, so that the next start does not wait
 * @param {string} [options.qemu]
 * @param {string} [options.cpu] the model that the VMs will use
 * @returns {Promise<Choice>}
 */
export async function chooseAccelerator({ guestDir, stateDir, qemu = "qemu-system-x86_64", cpu = "EPYC" }) {
  const obstacle = kvmObstacle();
  if (obstacle !== undefined) return { accel: "tcg", reason: obstacle };

  const cache = join(stateDir, "accelerator.json");
  const key = await trialKey(guestDir, qemu, cpu);
  const known = await readFile(cache, "utf8").then(JSON.parse, () => undefined);
  if (known?.key === key) return { accel: known.accel, reason: `${known.reason} (tried before; kept in ${cache})` };

  const failure = await tryKvm(guestDir, qemu, cpu);
  /** @type {Choice} */
  const choice =
    failure === undefined
      ? { accel: "kvm", reason: "the demo guest booted under it" }
      : { accel: "tcg", reason: `the demo guest does not boot under KVM: ${failure}` };
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  await writeFile(`${cache}.new`, `${JSON.stringify({ key, ...choice }, null, 2)}\n`);
  await rename(`${cache}.new`, cache);
  return choice;
}

/** Why KVM cannot even be tried. Not kept: it may be mended at any time. */
function kvmObstacle() {
  if (!existsSync("/dev/kvm")) return "there is no /dev/kvm";
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return "no permission for /dev/kvm (usermod -aG kvm USER, then log in again)";
  }
}

/**
 * Everything that may change the outcome of a trial.
 * @param {string} guestDir
 * @param {string} qemu
 * @param {string} cpu
 */
async function trialKey(guestDir, qemu, cpu) {
  const version = (await run(qemu, ["--version"])).toString().split("\n", 1)[0];
  const manifest = await readFile(join(guestDir, "manifest.json"));
  const guest = createHash("sha256").update(manifest).digest("hex").slice(0, 16);
  return `Linux ${release()}, ${version}, cpu ${cpu}, guest ${guest}`;
}

/**
 * @param {string} guestDir
 * @param {string} qemu
 * @param {string} cpu
 * @returns {Promise<string | undefined>} what went wrong
 */
async function tryKvm(guestDir, qemu, cpu) {
  const kernelLine = "console=ttyS0 earlyprintk=ttyS0 drover.demo=exit:0";
  const machine = ["-accel", "kvm", "-machine", "q35", "-cpu", cpu, "-m", "256M", "-nodefaults", "-no-user-config"];
  const kernel = ["-kernel", join(guestDir, "vmlinux"), "-initrd", join(guestDir, "rootfs.cpio")];
  const line = [
    qemu,
    ...machine,
    ...kernel,
    "-append",
    kernelLine,
    "-display",
    "none",
    "-serial",
    "stdio",
    "-no-reboot",
  ];
  // With setpriv the kernel ends QEMU even if this process is killed outright.
  const setpriv = findCommand("setpriv");
  const [program = qemu, ...args] = setpriv === undefined ? line : [setpriv, "--pdeathsig", "KILL", ...line];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const bond = endWithThisProcess(child);
  try {
    const failure = await outcome(child);
    // An interrupted trial says nothing about KVM and must not be remembered.
    if (bond.interrupted || failure?.includes("terminating on signal")) throw new Error("the trial was interrupted");
    return failure;
  } finally {
    child.kill("SIGKILL");
    bond.release();
  }
}

/**
 * @param {import("node:child_process").ChildProcessByStdio<null, import("node:stream").Readable, import("node:stream").Readable>} child
 * @returns {Promise<string | undefined>}
 */
function outcome(child) {
  return new Promise((resolve) => {
    let screen = "";
    let stderr = "";
    /** @param {string} [failure] */
    const settle = (failure) => {
      clearTimeout(deadline);
      clearTimeout(silence);
      resolve(failure);
    };
    const deadline = setTimeout(() => settle(`not done after ${DEADLINE_MS / 1000} s`), DEADLINE_MS);
    const silence = setTimeout(() => settle(`it fell silent for ${SILENCE_MS / 1000} s`), SILENCE_MS);
    child.stdout.on("data", (chunk) => {
      screen = (screen + chunk).slice(-2000);
      silence.refresh();
      if (screen.includes(BOOTED)) settle();
    });
    child.stderr.on("data", (chunk) => {
      stderr = (stderr + chunk).slice(-2000);
    });
    child.on("error", (error) => settle(error.message));
    child.on("close", (code, signal) => {
      const lastLine = stderr.trim().split("\n").at(-1);
      settle(`QEMU ended with ${signal ?? code}${lastLine ? `: ${lastLine}` : ""}`);
    });
  });
}

/**
 * Ends the child when this process ends, Ctrl-C included. A caller that handles the signal itself keeps the word; else
 * the signal is raised again, so that this process ends by it as it would have without us.
 * @param {import("node:child_process").ChildProcess} child
 */
function endWithThisProcess(child) {
  const signals = /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"]);
  const kill = () => child.kill("SIGKILL");
  const bond = {
    interrupted: false,
    release() {
      for (const signal of signals) process.off(signal, onSignal);
      process.off("exit", kill);
    },
  };
  /** @param {NodeJS.Signals} signal */
  const onSignal = (signal) => {
    bond.interrupted = true;
    kill();
    bond.release();
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  for (const signal of signals) process.on(signal, onSignal);
  process.on("exit", kill);
  return bond;
}
