import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { type GuestResult, lastGuestResult } from "../../src/contract/result-frame.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { gate } from "./gate.ts";
import { FIRMWARE_VARIABLES, type MachineOptions, machineArguments } from "./machine-arguments.ts";
import { openMonitor } from "./monitor.ts";

const enter = gate(3);
/** Generous, because the machine may be busy; a test that meets it has failed. */
const PATIENCE_MS = 60_000;
/** Long enough for an answer, too short for the slow retries of a connection that came too early. */
const PROBE_MS = 250;

/** Builds the image if need be and says where it is. */
export async function guestImage(): Promise<string> {
  const { stdout } = await execa("node", [new URL("../../guest/build.mjs", import.meta.url).pathname]);
  return stdout.trim();
}

/** Boots the demo guest under TCG. Whatever the test does, its end ends the machine and deletes its files. */
export async function bootDemoGuest(options: MachineOptions = {}) {
  const leave = await enter();
  const folder = await mkdtemp(join(tmpdir(), "drover-guest-"));
  const image = await guestImage();
  const manifest = JSON.parse(await readFile(join(image, "manifest.json"), "utf8")) as { cmdline: string };
  await writeShares(folder, options);
  if (options.boot === "uefi" || options.boot === "disk") {
    await copyFile(FIRMWARE_VARIABLES, join(folder, "variables.fd"));
  }
  const args = machineArguments(image, folder, options.cmdline ?? manifest.cmdline, options);
  const qemu = execa("qemu-system-x86_64", args, { reject: false, stdin: "ignore" });
  const stop = async () => {
    qemu.kill("SIGKILL");
    await qemu;
    await rm(folder, { recursive: true, force: true });
    leave();
  };

  try {
    const monitor = await openMonitor(join(folder, "qmp"));
    const usernet = options.bare ? "" : await monitor.ask("human-monitor-command", { "command-line": "info usernet" });
    const port = Number(/HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)/.exec(String(usernet))?.[1]);

    const consoleText = async () => (await readFile(join(folder, "console"), "latin1")).replaceAll("\r", "");
    const machine = {
      events: monitor.events,
      consoleText,
      consoleSays: (pattern: RegExp) =>
        waitFor(async () => pattern.exec(await consoleText()), {
          timeoutMs: PATIENCE_MS,
          what: `${pattern} on the console`,
        }),
      reports: (event: string) =>
        waitFor(() => monitor.events.includes(event), { timeoutMs: PATIENCE_MS, what: `${event} from QEMU` }),
      /** One short question to the agent; undefined when nothing came back. */
      askAgent: () => firstBytes(port),
      agentAnswers: () => waitFor(() => firstBytes(port), { timeoutMs: PATIENCE_MS, what: "the agent" }),
      pressPowerButton: () => monitor.ask("system_powerdown"),
      /** QEMU has ended by itself. */
      ended: () => waitFor(() => qemu.exitCode !== null, { timeoutMs: PATIENCE_MS, what: "the machine's end" }),
      resultBytes: () => readFile(join(folder, "result")),
      result: async (): Promise<GuestResult | undefined> => lastGuestResult(await readFile(join(folder, "result"))),
      [Symbol.asyncDispose]: stop,
    };
    return machine;
  } catch (error) {
    await stop();
    throw new Error(`the machine did not start: ${(await qemu).stderr}`, { cause: error });
  }
}

async function writeShares(folder: string, { url = "", environment = [] }: MachineOptions): Promise<void> {
  await mkdir(join(folder, "env"));
  await mkdir(join(folder, "certs"));
  const lines = ["AGENT_LOG_LEVEL=info", `AGENT_CVM_GRPC_URL=${url}`, ...environment];
  await writeFile(join(folder, "env/environment"), `${lines.join("\n")}\n`);
  await writeFile(join(folder, "certs/cert.pem"), "certificate");
  await writeFile(join(folder, "certs/key.pem"), "");
}

function firstBytes(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const settle = (answer?: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(settle, PROBE_MS);
    socket.on("data", (bytes) => settle(bytes.toString()));
    socket.on("error", () => settle());
    socket.on("end", () => settle());
  });
}
