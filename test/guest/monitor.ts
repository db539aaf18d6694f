import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { waitFor } from "../helpers/wait-for.ts";

interface Message {
  readonly id?: string;
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly return?: unknown;
}

/** As much of QMP as these tests need; the project's own client is not used, so that one cannot hide the other's faults. */
export interface Monitor {
  /** Everything QEMU has reported so far, for example `SHUTDOWN guest-shutdown`. */
  readonly events: readonly string[];
  /** The answer to a command, or undefined once QEMU is gone. */
  ask(command: string, args?: object): Promise<unknown>;
}

export async function openMonitor(path: string): Promise<Monitor> {
  const socket = await waitFor(() => tryConnect(path), { intervalMs: 5, what: "QEMU's monitor" });
  const events: string[] = [];
  const answers = new Map<string, (value: unknown) => void>();
  createInterface({ input: socket }).on("line", (line) => {
    const message = JSON.parse(line) as Message;
    if (message.event !== undefined) events.push([message.event, message.data?.["reason"]].filter(Boolean).join(" "));
    if (message.id !== undefined) answers.get(message.id)?.(message.return);
  });
  socket.on("error", () => undefined); // QEMU has ended; whoever waits learns it from the process
  socket.on("close", () => {
    for (const settle of answers.values()) settle(undefined);
  });

  let last = 0;
  const ask = (execute: string, args: object = {}): Promise<unknown> => {
    last += 1;
    const id = String(last);
    return new Promise((resolve) => {
      if (socket.destroyed) return resolve(undefined);
      answers.set(id, resolve);
      socket.write(`${JSON.stringify({ execute, arguments: args, id })}\n`);
    });
  };
  await ask("qmp_capabilities");
  return { events, ask };
}

async function tryConnect(path: string): Promise<Socket> {
  const socket = connect(path);
  await once(socket, "connect");
  return socket;
}
