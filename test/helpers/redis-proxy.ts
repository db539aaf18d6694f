import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";

export interface RedisProxy extends AsyncDisposable {
  readonly url: string;
  /**
   * From now on nothing that a client sends on connections with such a name reaches Redis (ioredis names its
   * connections with CLIENT SETNAME). The connections stay open: whoever asks waits.
   */
  hold(connectionName: RegExp): void;
  /** Every piece takes this much longer, each way; 0 ends it. */
  slow(latencyMs: number): void;
  /** The connections that are open now carry nothing any more, either way, and nobody is told; new ones work. */
  halfOpen(): void;
  /** Nothing passes on any connection, old or new, until the returned function is called; then new ones work. */
  blackhole(): () => void;
  /** Ends the connections that are open now. */
  reset(): void;
  /**
   * Redis carries the nth command from now on out (handshakes do not count), and the connection ends before the reply
   * comes. Gives the command once that has happened.
   */
  loseReply(nth?: number): { command(): string | undefined };
  /** Connections that are open now. */
  open(): number;
}

interface Pair {
  name: string;
  silent: boolean;
  losesReplies: boolean;
  readonly client: Socket;
  readonly server: Socket;
}

const SETNAME = /setname\r\n\$\d+\r\n([^\r]+)\r\n/i;
const HANDSHAKE = new Set(["auth", "client", "hello", "info", "select", "cluster", "command", "sentinel", "readonly"]);

/** A way to Redis that can be blocked, slowed down and cut, for some connections of a process or for all. */
export async function startRedisProxy(redisUrl: string): Promise<RedisProxy> {
  const target = new URL(redisUrl);
  const pairs = new Set<Pair>();
  const held: RegExp[] = [];
  let latencyMs = 0;
  let dark = false;
  let toLose: { left: number; command: string | undefined } | undefined;

  /** In order, whatever the latency was when an earlier piece came. */
  const pass = (pair: Pair, to: Socket) => {
    let last = Promise.resolve();
    return (chunk: Buffer) => {
      if (pair.silent) return;
      if (latencyMs === 0) {
        void last.then(() => to.write(chunk));
        return;
      }
      const due = new Promise((resolve) => setTimeout(resolve, latencyMs));
      last = last.then(() => due).then(() => void (pair.silent || to.write(chunk)));
    };
  };
  const end = (pair: Pair) => {
    pair.client.destroy();
    pair.server.destroy();
    pairs.delete(pair);
  };

  const proxy = createServer((client) => {
    const server = createConnection({ host: target.hostname, port: Number(target.port) });
    const pair: Pair = { name: "", silent: dark, losesReplies: false, client, server };
    pairs.add(pair);
    const toServer = pass(pair, server);
    const toClient = pass(pair, client);
    const readCommands = commandReader((command) => {
      if (toLose === undefined || toLose.left === 0 || HANDSHAKE.has(command)) return;
      toLose.left -= 1;
      if (toLose.left > 0) return;
      toLose.command = command;
      pair.losesReplies = true;
    });
    client.on("data", (chunk) => {
      pair.name = SETNAME.exec(chunk.toString("latin1"))?.[1] ?? pair.name;
      if (held.some((name) => name.test(pair.name))) return;
      readCommands(chunk);
      toServer(chunk);
    });
    // Redis answers everything that it has read at once: the first piece after a command holds its reply.
    server.on("data", (chunk) => (pair.losesReplies ? end(pair) : toClient(chunk)));
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      // A silent connection tells neither side that the other has gone.
      socket.on("close", () => pair.silent || end(pair)).on("error", () => pair.silent || end(pair));
    }
    client.on("close", () => end(pair));
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const silence = () => {
    for (const pair of pairs) pair.silent = true;
  };
  const reset = () => {
    for (const pair of pairs) end(pair);
  };
  return {
    url: `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`, // a TCP server's address is this
    hold: (name) => void held.push(name),
    slow: (ms) => {
      latencyMs = ms;
    },
    halfOpen: silence,
    blackhole() {
      dark = true;
      silence();
      return () => {
        dark = false;
      };
    },
    reset,
    loseReply(nth = 1) {
      const loss: { left: number; command: string | undefined } = { left: nth, command: undefined };
      toLose = loss;
      return { command: () => loss.command };
    },
    open: () => pairs.size,
    async [Symbol.asyncDispose]() {
      reset();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}

/** Reads the names of commands (RESP arrays of bulk strings) from pieces that may end anywhere. */
function commandReader(onCommand: (name: string) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const command = readCommand(rest);
      if (command === undefined) return;
      onCommand(command.name);
      rest = rest.subarray(command.length);
    }
  };
}

function readCommand(bytes: Buffer): { name: string; length: number } | undefined {
  let at = 0;
  const number = (sign: string): number | undefined => {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    if (bytes.toString("latin1", at, at + 1) !== sign) throw new Error("a client sent something that is no command");
    const value = Number(bytes.toString("latin1", at + 1, lineEnd));
    at = lineEnd + 2;
    return value;
  };
  const parts = number("*");
  if (parts === undefined) return undefined;
  let name = "";
  for (let part = 0; part < parts; part++) {
    const length = number("$");
    if (length === undefined || bytes.length < at + length + 2) return undefined;
    if (part === 0) name = bytes.toString("latin1", at, at + length).toLowerCase();
    at += length + 2;
  }
  return { name, length: at };
}
