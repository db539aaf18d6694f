import { EventEmitter } from "node:events";
import type { RedisClient } from "../../../src/queue/connection.ts";
import { COMMANDS } from "./commands.ts";
import { type Reply, Status } from "./data.ts";
import type { BatchReply, Command } from "./fake-redis.ts";

/** Brings commands to a server and its answers back, in order. */
export interface Transport {
  readonly status: "ready" | "reconnecting" | "end";
  /** Rejects with what Redis answers as an error, and when the connection is closed for good. */
  send(command: Command): Promise<Reply | BatchReply>;
  disconnect(): void;
  /** A connection of its own beside this one. */
  duplicate(events: EventEmitter): Transport;
}

/** Opens a transport that tells `events` of `close`, `ready` and `end`, as ioredis does. */
export type OpenTransport = (events: EventEmitter) => Transport;

/** A client that looks like ioredis to drover and BullMQ. */
export function fakeClient(open: OpenTransport): RedisClient {
  return new FakeClient(open) as unknown as RedisClient; // it has the methods that are used, and no more
}

type Argument = string | number | Buffer | null | undefined;

function toText(value: Argument): string {
  return Buffer.isBuffer(value) ? value.toString("latin1") : String(value ?? "");
}

function toArgs(values: readonly unknown[], into: string[] = []): string[] {
  for (const value of values) {
    if (Array.isArray(value)) toArgs(value, into);
    else into.push(typeof value === "string" ? value : toText(value as Argument));
  }
  return into;
}

/** Answers as ioredis gives them. */
function shaped(name: string, reply: Reply): unknown {
  if (reply instanceof Status) return reply.text;
  if (name !== "HGETALL" || !Array.isArray(reply))
    return Array.isArray(reply) ? reply.map((r) => shaped("", r)) : reply;
  const fields: Record<string, unknown> = {};
  for (let at = 0; at + 1 < reply.length; at += 2) fields[String(reply[at])] = reply[at + 1];
  return fields;
}

class FakeClient extends EventEmitter {
  readonly options = { maxRetriesPerRequest: null };
  readonly isCluster = false;
  readonly #transport: Transport;

  constructor(open: OpenTransport) {
    super();
    this.setMaxListeners(0);
    this.#transport = open(this);
  }

  get status(): Transport["status"] {
    return this.#transport.status;
  }

  /** BullMQ says so itself of a connection that it has closed. */
  set status(_said: Transport["status"]) {}

  async command(name: string, args: readonly unknown[]): Promise<unknown> {
    return shaped(name, (await this.#transport.send({ name, args: toArgs(args) })) as Reply);
  }

  /** BullMQ's scripts are the same for every client. */
  defineCommand(name: string, { numberOfKeys, lua }: { numberOfKeys: number; lua: string }): void {
    Object.defineProperty(FakeClient.prototype, name, {
      configurable: true,
      value(this: FakeClient, ...args: unknown[]) {
        return this.command("EVAL", [lua, numberOfKeys, ...toArgs(args)]);
      },
    });
    Object.defineProperty(Batch.prototype, name, {
      configurable: true,
      value(this: Batch, ...args: unknown[]) {
        return this.add("EVAL", [lua, numberOfKeys, ...toArgs(args)]);
      },
    });
  }

  multi(): Batch {
    return new Batch(this.#transport);
  }

  pipeline(): Batch {
    return new Batch(this.#transport);
  }

  duplicate(): FakeClient {
    return new FakeClient((events) => this.#transport.duplicate(events));
  }

  async connect(): Promise<void> {}

  async quit(): Promise<string> {
    this.disconnect();
    return "OK";
  }

  disconnect(): void {
    this.#transport.disconnect();
  }
}

class Batch {
  readonly #transport: Transport;
  readonly #commands: Command[] = [];

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  add(name: string, args: readonly unknown[]): this {
    this.#commands.push({ name, args: toArgs(args) });
    return this;
  }

  /** BullMQ wants to see these two, and does not use them. */
  hscan(): never {
    throw new Error("HSCAN is not known here");
  }

  sscan(): never {
    throw new Error("SSCAN is not known here");
  }

  async exec(): Promise<readonly (readonly [Error | null, unknown])[]> {
    const replies = (await this.#transport.send({ name: "EXEC", args: [], batch: this.#commands })) as BatchReply;
    return replies.map(([error, reply], at) => [error, shaped(this.#commands[at]?.name ?? "", reply)]);
  }
}

for (const name of [...Object.keys(COMMANDS), "INFO", "EVAL", "EVALSHA", "BZPOPMIN"]) {
  Object.defineProperty(FakeClient.prototype, name.toLowerCase(), {
    configurable: true,
    value(this: FakeClient, ...args: unknown[]) {
      return this.command(name, args);
    },
  });
  Object.defineProperty(Batch.prototype, name.toLowerCase(), {
    writable: true, // BullMQ puts methods of its own in their place
    value(this: Batch, ...args: unknown[]) {
      return this.add(name, args);
    },
  });
}
