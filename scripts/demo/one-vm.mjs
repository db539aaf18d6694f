import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { anySignal } from "./any-signal.mjs";
import { tryPort } from "./environment.mjs";
import { GuestConsole } from "./guest-console.mjs";
import { INDENT, wrapWords } from "./screen.mjs";
import { processesWith } from "./up.mjs";

/** Under TCG on a slow machine a boot may take half a minute; this is for one that hangs. */
const LIFE_TIMEOUT_MS = 180_000;
const CLEAN_TIMEOUT_MS = 10_000;
const REQUEST = {
  name: "hello",
  labels: { made: "by-the-demo" },
  agentCvmServerUrl: "demo:hello",
  probe: { type: "console", text: "hello from" },
  result: true,
  ttl: "10m",
};

/**
 * Submits one VM and shows its life as it happens.
 * @param {{ screen: import("./screen.mjs").Screen, root: string, stateDir: string, url: string, signal: AbortSignal }} options
 * @returns {Promise<boolean>} whether it completed and left nothing behind
 */
export async function showOneVm({ screen, root, stateDir, url, signal }) {
  const from = (/** @type {string} */ path) => import(pathToFileURL(join(root, "dist", path)).href);
  const { ApiClient } = await from("cli/client/api-client.js");
  const { streamEvents } = await from("cli/client/event-stream.js");
  const { eventText, eventWord } = await from("cli/render/event-text.js");
  const { consoleLines } = await from("cli/render/console-text.js");
  const done = new AbortController();
  const consoleEnd = new AbortController();
  const late = new Error(`the VM has not ended within ${LIFE_TIMEOUT_MS / 1000} s`);
  const limit = setTimeout(() => done.abort(late), LIFE_TIMEOUT_MS).unref();
  const target = { baseUrl: new URL(`${url}/`), signal: anySignal(signal, done.signal) };
  const api = new ApiClient(target);
  const consoleApi = new ApiClient({ ...target, signal: anySignal(target.signal, consoleEnd.signal) });

  const stream = streamEvents(target, {});
  await stream.next(); // the stream stands, so that no event of the VM is missed
  screen.title("One VM: POST /v1/vms");
  const shown = JSON.stringify(REQUEST, null, 1).replace(/\n */g, " ");
  for (const line of wrapWords(shown, screen.columns - INDENT.length)) screen.line(`${INDENT}${line}`);
  const vm = await api.submit(REQUEST, randomUUID());
  screen.line(`${INDENT}its id is ${vm.id}\n`);

  const guest = new GuestConsole(screen, consoleLines);
  let port = 0;
  let startedAtMs = 0;
  for await (const item of stream) {
    if (item.kind !== "event" || item.event.subject !== vm.id) continue;
    const { event } = item;
    startedAtMs ||= Date.parse(event.time);
    tellEvent(screen, { atMs: Date.parse(event.time) - startedAtMs, word: eventWord(event), text: eventText(event) });
    if (typeof event.data.port === "number") port = event.data.port;
    if (event.type === "vm.starting") guest.follow(consoleApi, vm.id);
    if (event.type === "vm.ready") await tellAnswer(screen, port, Date.now() - startedAtMs);
    if (["vm.completed", "vm.failed", "vm.removed", "vm.expired"].includes(event.type)) break;
  }
  consoleEnd.abort(new Error("the VM has ended"));
  const ended = await api.get(vm.id);
  guest.tellRest(ended.tail?.console ?? "");
  clearTimeout(limit);
  done.abort(new Error("the VM has ended"));

  screen.line("");
  screen.fact("outcome", screen.paint(ended.state === "completed" ? 32 : 31, ended.state));
  if (ended.cause !== null) screen.fact("cause", `${ended.cause.code}: ${ended.cause.message}. ${ended.cause.action}`);
  if (ended.result?.text != null) screen.fact("result", `"${ended.result.text}", exit code ${ended.result.exitCode}`);
  const isClean = await tellCleanUp(screen, { from, stateDir, vmId: vm.id, port });
  return ended.state === "completed" && isClean;
}

/**
 * @param {import("./screen.mjs").Screen} screen
 * @param {{ atMs: number, word: string, text: string }} event
 */
function tellEvent(screen, { atMs, word, text }) {
  const time = `${(atMs / 1000).toFixed(1)} s`.padStart(INDENT.length - 2);
  const [first = "", ...more] = wrapWords(text, screen.columns - 22);
  screen.line(`${time}  ${screen.paint(36, word.padEnd(11))} ${first}`);
  for (const rest of more) screen.line(`${INDENT}${" ".repeat(12)}${rest}`);
}

/**
 * Talks to the guest on its forwarded port, as a client of the VM would.
 * @param {import("./screen.mjs").Screen} screen
 * @param {number} port
 * @param {number} atMs
 */
async function tellAnswer(screen, port, atMs) {
  const answer = await new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: 5_000 });
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk;
      if (text.includes("\n")) socket.destroy();
    });
    socket.on("timeout", () => socket.destroy());
    socket.on("error", () => undefined); // told as silence
    socket.on("close", () => resolve(text.trim().slice(0, 60)));
  });
  const said = answer === "" ? "does not answer" : `answers "${answer}"`;
  tellEvent(screen, { atMs, word: "answer", text: `on port ${port} the guest ${said}` });
}

/**
 * Looks whether the VM is really gone: process, files, port, and what Redis says of the port.
 * @param {import("./screen.mjs").Screen} screen
 * @param {{ from: (path: string) => Promise<any>, stateDir: string, vmId: string, port: number }} options
 * @returns {Promise<boolean>}
 */
async function tellCleanUp(screen, { from, stateDir, vmId, port }) {
  const checks = [
    { what: "no process of it", isTrue: async () => processesWith(vmId).length === 0 },
    { what: "its directory is gone", isTrue: async () => !existsSync(join(stateDir, "vms", vmId)) },
    { what: `port ${port} is free`, isTrue: async () => (await tryPort(port)) === port },
    { what: "and given back in Redis", isTrue: async () => !(await heldPorts(from, stateDir)).includes(port) },
  ];
  const failed = [];
  for (const { what, isTrue } of checks) {
    let held = await isTrue();
    for (const deadline = Date.now() + CLEAN_TIMEOUT_MS; !held && Date.now() < deadline; held = await isTrue())
      await delay(50);
    if (!held) failed.push(what);
  }
  const text = failed.length === 0 ? checks.map(({ what }) => what).join(", ") : `not so: ${failed.join(", ")}`;
  screen.fact("cleaned up", screen.paint(failed.length === 0 ? 32 : 31, text));
  return failed.length === 0;
}

/**
 * @param {(path: string) => Promise<any>} from
 * @param {string} stateDir
 * @returns {Promise<number[]>}
 */
async function heldPorts(from, stateDir) {
  const { PortSlots } = await from("queue/port-slots.js");
  const { redisKeys } = await from("queue/redis-keys.js");
  const { Redis } = await import("ioredis");
  const url = (await readFile(join(stateDir, "redis/url"), "utf8")).trim();
  const bootId = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  const redis = new Redis(url, { maxRetriesPerRequest: 1 });
  redis.on("error", () => undefined); // the call below reports it
  try {
    const slots = new PortSlots({
      redis,
      keys: redisKeys("{drover}"),
      bootId,
      range: { first: 6100, last: 6200, reserved: [] },
    });
    return (await slots.list()).map((/** @type {{ port: number }} */ held) => held.port);
  } finally {
    redis.disconnect();
  }
}
