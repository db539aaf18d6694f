#!/usr/bin/env node
// `npm run demo`: prepares the machine, starts everything, runs one VM before your eyes and stays. With --once it ends
// after the VM, with exit code 0 only if that completed and left nothing behind.
// Nothing but Node is needed at the beginning, so what comes from packages or from dist is imported once it is there.
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { chooseAccelerator } from "./accelerator.mjs";
import { anySignal } from "./demo/any-signal.mjs";
import { demoEnvironment, demoStateDir, freeHttpPort } from "./demo/environment.mjs";
import { showOneVm } from "./demo/one-vm.mjs";
import { Screen } from "./demo/screen.mjs";
import { DroverUp } from "./demo/up.mjs";
import { prepare } from "./setup.mjs";

const ROOT = resolve(fileURLToPath(new URL("..", import.meta.url)));
const USAGE = "Usage: npm run demo [-- --once]\n\n  --once   end after the VM; exit code 0 only if it completed\n";
const KNOWN_PORT = 7003;
/** The terminal and npm both pass one Ctrl-C on; only what comes later is a second one. */
const SAME_WISH_MS = 1_000;
const LEFTOVERS_MS = 500;

const words = process.argv.slice(2);
if (words.some((word) => word !== "--once")) {
  const asked = words.includes("--help") || words.includes("-h");
  (asked ? process.stdout : process.stderr).write(USAGE);
  process.exit(asked ? 0 : 2);
}

const screen = new Screen(process.stdout, process.env);
const stop = new AbortController();
/** @type {DroverUp | undefined} */
let up;
let firstSignalAtMs = 0;
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
  process.on(signal, () => {
    firstSignalAtMs ||= performance.now();
    if (performance.now() - firstSignalAtMs > SAME_WISH_MS) {
      up?.killAll(); // asked twice: nothing is left behind all the same
      process.exit(130);
    }
    stop.abort(new Error("interrupted"));
  });
}

try {
  process.exitCode = await demo({ once: words.includes("--once") });
} catch (error) {
  if (stop.signal.aborted) process.exitCode = 130;
  else {
    screen.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
} finally {
  await endAll();
  setTimeout(() => process.exit(), LEFTOVERS_MS).unref(); // for what is still open when the story was cut short
}

/**
 * @param {{ once: boolean }} options
 * @returns {Promise<number>} exit code
 */
async function demo({ once }) {
  screen.title("drover demo: one VM, from its request to its result");
  await prepare({ say: (line) => screen.line(line) });
  stop.signal.throwIfAborted();
  const stateDir = await demoStateDir(process.env, homedir());
  const guestDir = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "drover/guest");
  const { accel, reason } = await chooseAccelerator({ guestDir, stateDir, cpu: "max" });
  stop.signal.throwIfAborted();
  screen.fact("accelerator", accel === "kvm" ? `KVM: ${reason}` : `TCG, software emulation: ${reason}`);
  const port = await freeHttpPort(KNOWN_PORT);
  if (port !== KNOWN_PORT) screen.fact("port", `${KNOWN_PORT} is taken by another program; the API gets ${port}`);

  const environment = demoEnvironment(process.env, { guestDir, stateDir, accel, port });
  const startedAtMs = performance.now();
  up = new DroverUp({ root: ROOT, stateDir, environment });
  const url = `http://127.0.0.1:${port}`;
  await up.untilReady(url, stop.signal);
  screen.fact(
    "drover up",
    `Redis, API, worker and dashboard run (${((performance.now() - startedAtMs) / 1000).toFixed(1)} s)`,
  );

  const completed = await showOneVm({
    screen,
    root: ROOT,
    stateDir,
    url,
    signal: anySignal(stop.signal, up.ended),
  });
  if (once) return completed ? 0 : 1;
  screen.addresses({ url, stateDir, logFile: up.logFile, isDefaultUrl: port === KNOWN_PORT });
  await up.untilEnded(stop.signal);
  return completed ? 0 : 1;
}

async function endAll() {
  if (up === undefined) return;
  screen.line("");
  screen.line("stopping drover ...");
  const leftovers = await up.stop();
  if (leftovers > 0) process.exitCode = 1;
  screen.line(
    leftovers === 0
      ? "stopped; nothing is left running"
      : `stopped; ${leftovers} processes had to be killed: see ${up.logFile}`,
  );
}
