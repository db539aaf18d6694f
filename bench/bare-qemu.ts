import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 2;
const DEADLINE_MS = 30_000;

/**
 * The floor: a QEMU started by nothing but spawn(), asked over QMP by nothing but a socket. No drover code in it, so
 * that the comparison is with what the machine itself needs.
 */
export class BareQemu {
  readonly startMs: number;
  readonly #child: ChildProcess;
  readonly #socket: Socket;

  private constructor(child: ChildProcess, socket: Socket, startMs: number) {
    this.#child = child;
    this.#socket = socket;
    this.startMs = startMs;
  }

  /**
   * Spawns the command in `dir` and comes back when QMP says `running`; `startMs` is how long that took. A machine that
   * is started `paused` (-S) is told to go on.
   */
  static async start(command: readonly string[], dir: string, { paused = false } = {}): Promise<BareQemu> {
    const [file = "", ...args] = command;
    const log = openSync(join(dir, "qemu.log"), "w");
    const begunMs = performance.now();
    const child = spawn(file, args, { stdio: ["ignore", log, log], detached: true });
    const socket = await connect(join(dir, "qmp.sock"), child);
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    await lines.next(); // greeting
    const resume = paused ? '{"execute":"cont"}\n' : "";
    socket.write(`{"execute":"qmp_capabilities"}\n${resume}{"execute":"query-status"}\n`);
    for (;;) {
      const line = await lines.next();
      if (line.done === true) throw new Error("QEMU closed its monitor");
      if (/"status": ?"running"/.test(line.value)) break;
    }
    return new BareQemu(child, socket, performance.now() - begunMs);
  }

  /** `quit` over QMP; gives how long the process took to end. */
  async quit(): Promise<number> {
    const begunMs = performance.now();
    const exited = once(this.#child, "exit");
    this.#socket.write('{"execute":"quit"}\n');
    await exited;
    this.#socket.destroy();
    return performance.now() - begunMs;
  }
}

async function connect(path: string, child: ChildProcess): Promise<Socket> {
  for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; await delay(POLL_MS)) {
    if (child.exitCode !== null) throw new Error(`bare QEMU exited with ${child.exitCode}`);
    const socket = await tryConnect(path);
    if (socket !== undefined) return socket;
  }
  throw new Error("bare QEMU did not open its monitor");
}

function tryConnect(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", () => resolve(undefined));
  });
}
