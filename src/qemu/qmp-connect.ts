import { existsSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { pause, TIME_UP, within } from "../runtime/bounded-wait.ts";
import { errnoOf } from "../runtime/errno.ts";
import { QmpClient } from "./qmp-client.ts";
import { QmpError } from "./qmp-error.ts";

/** QEMU needs about 20 ms until it listens; a coarser poll would be seen in every launch. */
const SOCKET_POLL_MS = 2;

/** Not bound yet, bound and not listening yet, left by a predecessor, or gone in this very moment. */
const NOBODY_LISTENS = new Set(["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE"]);

export interface QmpDial {
  readonly socketPath: string;
  /** Bound on everything: socket, connection, greeting. */
  readonly timeoutMs: number;
  /** False once the process is known to be dead, so that nobody waits for its socket. */
  readonly isAlive: () => boolean;
  readonly signal?: AbortSignal;
}

/**
 * Connects to QEMU's monitor, also while QEMU is only just starting, and comes back greeted with
 * `qmp_capabilities` sent: commands may follow at once.
 * Throws {@link QmpError} `no_socket`, `process_gone`, `busy` (a monitor serves one client at a time, the next one is
 * accepted and gets no greeting) or `malformed`, and the signal's reason.
 */
export async function connectQmp(dial: QmpDial): Promise<QmpClient> {
  const deadlineMs = performance.now() + dial.timeoutMs;
  let obstacle: "no_socket" | "busy" = "no_socket";
  for (;;) {
    dial.signal?.throwIfAborted();
    const socket = existsSync(dial.socketPath) ? await open(dial.socketPath) : "no_socket";
    if (typeof socket !== "string") {
      const client = await greeted(socket, Math.max(1, deadlineMs - performance.now()), dial.signal);
      if (client !== undefined) return client;
      obstacle = "no_socket"; // it closed on us: QEMU is dying, or the socket was a predecessor's
    } else {
      obstacle = socket;
    }
    if (!dial.isAlive()) throw new QmpError("process_gone", "QEMU ended before it answered on its monitor");
    if (performance.now() >= deadlineMs) {
      const what = obstacle === "busy" ? "has a full queue of clients" : "does not listen";
      throw new QmpError(obstacle, `QEMU's monitor ${what} (${dial.socketPath}, waited ${dial.timeoutMs} ms)`);
    }
    await pause(SOCKET_POLL_MS, dial.signal);
  }
}

/** A connected socket, or what stands in the way. */
function open(path: string): Promise<Socket | "no_socket" | "busy"> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
    socket.once("error", (error) => {
      const code = errnoOf(error);
      if (NOBODY_LISTENS.has(code ?? "")) resolve("no_socket");
      else if (code === "EAGAIN") resolve("busy");
      else reject(new QmpError("no_socket", `QEMU's monitor cannot be reached: ${error.message}`, { cause: error }));
    });
  });
}

/** Undefined when the connection closes before the greeting. Throws `busy` when none comes in time. */
async function greeted(
  socket: Socket,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<QmpClient | undefined> {
  const client = new QmpClient(socket);
  try {
    const greeting = await within(client.greeting, timeoutMs, signal);
    if (greeting === TIME_UP) throw new QmpError("busy", `QEMU's monitor did not greet in ${Math.round(timeoutMs)} ms`);
  } catch (error) {
    client.close();
    if (error instanceof QmpError && error.code === "closed") return undefined;
    throw error;
  }
  client.execute("qmp_capabilities", {}, { timeoutMs }).catch(() => client.close()); // every later command says why
  return client;
}
