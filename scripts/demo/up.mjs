import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { findCommand } from "../../guest/build/command.mjs";
import { anySignal } from "./any-signal.mjs";

const READY_TIMEOUT_MS = 60_000;
/** The stop ladder of a VM and of Redis together, with room to spare. */
const STOP_TIMEOUT_MS = 60_000;
const LOG_LINES_SHOWN = 15;

/** `drover up` as a child: its output goes into a file, and it ends with us, whatever happens to us. */
export class DroverUp {
  #ended = new AbortController();

  /** @param {{ root: string, stateDir: string, environment: Record<string, string | undefined> }} options */
  constructor({ root, stateDir, environment }) {
    this.stateDir = stateDir;
    this.logFile = join(stateDir, "up.log");
    const log = openSync(this.logFile, "w", 0o600);
    const line = [process.execPath, join(root, "bin/drover"), "up", "--stop-vms"];
    // With setpriv the kernel tells the child to stop even if this process is killed outright.
    const setpriv = findCommand("setpriv");
    const [program = process.execPath, ...args] =
      setpriv === undefined ? line : [setpriv, "--pdeathsig", "TERM", ...line];
    // A session of its own: Ctrl-C reaches us only, and we ask it to stop once.
    this.child = spawn(program, args, { env: environment, stdio: ["ignore", log, log], detached: true });
    closeSync(log);
    this.child.once("error", (error) => this.#ended.abort(error));
    this.child.once("exit", (code, signal) => this.#ended.abort(new Error(this.#epitaph(code, signal))));
  }

  /** Aborted when the child has ended; the reason says why, with its last lines. */
  get ended() {
    return this.#ended.signal;
  }

  /**
   * @param {string} url
   * @param {AbortSignal} signal
   */
  async untilReady(url, signal) {
    for (const deadline = Date.now() + READY_TIMEOUT_MS; Date.now() < deadline; ) {
      signal.throwIfAborted();
      this.ended.throwIfAborted();
      // The summary is the child's last line of its start: the worker fetches by then.
      if (this.#log().includes("drover is up") && (await isReady(url))) return;
      await delay(50);
    }
    throw new Error(
      `\`drover up\` was not ready within ${READY_TIMEOUT_MS / 1000} s. Its last lines:\n${this.#lastLines()}`,
    );
  }

  /**
   * Until the signal; an end of the child itself is an error.
   * @param {AbortSignal} signal
   */
  async untilEnded(signal) {
    const either = anySignal(signal, this.ended);
    await new Promise((resolve) => {
      if (either.aborted) resolve(undefined);
      else either.addEventListener("abort", () => resolve(undefined), { once: true });
    });
    if (!signal.aborted) this.ended.throwIfAborted();
  }

  /**
   * Stops the child and proves that nothing of it is left.
   * @returns {Promise<number>} how many processes it left behind, which were killed
   */
  async stop() {
    if (!this.ended.aborted) {
      this.child.kill("SIGTERM");
      await Promise.race([
        new Promise((resolve) => this.ended.addEventListener("abort", resolve, { once: true })),
        delay(STOP_TIMEOUT_MS, undefined, { ref: false }),
      ]);
    }
    return this.killAll();
  }

  /** Kills the child and every process that works in the state directory. */
  killAll() {
    const pids = processesWith(`${this.stateDir}/`);
    if (!this.ended.aborted && this.child.pid !== undefined) pids.push(this.child.pid);
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // ended in the meantime
      }
    }
    return pids.length;
  }

  /**
   * @param {number | null} code
   * @param {NodeJS.Signals | null} signal
   */
  #epitaph(code, signal) {
    return `\`drover up\` ended (${signal ?? `exit code ${code}`}). Its last lines:\n${this.#lastLines()}`;
  }

  #log() {
    return readFileSync(this.logFile, "utf8");
  }

  #lastLines() {
    return this.#log().trimEnd().split("\n").slice(-LOG_LINES_SHOWN).join("\n");
  }
}

/**
 * Processes whose command line holds this text; ourselves left out.
 * @param {string} text
 * @returns {number[]}
 */
export function processesWith(text) {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, "utf8").includes(text);
      } catch {
        return false; // gone
      }
    })
    .map(Number);
}

/** @param {string} url */
async function isReady(url) {
  try {
    return (await fetch(`${url}/ready`, { signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false; // not listening yet
  }
}
