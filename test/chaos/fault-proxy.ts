import { type AddressInfo, createConnection, createServer, type Server, type Socket } from "node:net";

/** What a network can do to a connection; toxiproxy's set. */
export type NetworkFault =
  /** Every piece arrives late. */
  | { readonly verb: "latency"; readonly ms: number }
  /** Nothing arrives any more, neither way, and nobody is told. New connections are accepted and silent. */
  | { readonly verb: "black-hole" }
  /** All connections are reset, new ones as well while it lasts. */
  | { readonly verb: "reset" }
  /** The far end is gone and the near end is not told. New connections work. */
  | { readonly verb: "half-open" }
  /** Each connection is reset after so many more bytes of answers: within a reply, as a rule. */
  | { readonly verb: "cut-after"; readonly bytes: number };

/** One way of a connection. Pieces leave in the order in which they came, whatever the latency was meanwhile. */
class Way {
  readonly to: Socket;
  readonly #waiting: { readonly piece: Buffer; readonly dueMs: number }[] = [];

  constructor(to: Socket) {
    this.to = to;
  }

  send(piece: Buffer, delayMs: number): void {
    if (delayMs === 0 && this.#waiting.length === 0) {
      this.to.write(piece);
      return;
    }
    const dueMs = Math.max(performance.now() + delayMs, this.#waiting.at(-1)?.dueMs ?? 0);
    this.#waiting.push({ piece, dueMs });
    if (this.#waiting.length === 1) this.#wait(dueMs);
  }

  #wait(dueMs: number): void {
    setTimeout(() => this.#flush(), Math.max(0, dueMs - performance.now()));
  }

  #flush(): void {
    for (
      let first = this.#waiting[0];
      first !== undefined && first.dueMs <= performance.now();
      first = this.#waiting[0]
    ) {
      this.#waiting.shift();
      if (!this.to.destroyed) this.to.write(first.piece);
    }
    const [next] = this.#waiting;
    if (next !== undefined) this.#wait(next.dueMs);
  }
}

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
  readonly asking: Way;
  readonly answering: Way;
  /** The far end is gone, and the near one shall not know. */
  orphaned: boolean;
  answeredBytes: number;
}

/** A way to a TCP server that can be made bad and good again. */
export class FaultProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #fault: NetworkFault | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(targetPort: number): Promise<FaultProxy> {
    const server = createServer({ noDelay: true });
    const proxy = new FaultProxy(server);
    server.on("connection", (near) => proxy.#accept(near, targetPort));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port; // a TCP server that listens has such an address
  }

  /** From now on, until `heal`. */
  inflict(fault: NetworkFault): void {
    this.heal();
    this.#fault = fault;
    for (const pair of [...this.#pairs]) {
      if (fault.verb === "reset") this.#end(pair);
      if (fault.verb === "half-open") {
        pair.orphaned = true;
        pair.far.destroy();
      }
      pair.answeredBytes = 0;
    }
  }

  /**
   * Everything that comes from now on arrives. A black hole has swallowed what was sent, so its connections are reset:
   * a stream with a hole in it would be a fault that no network makes.
   */
  heal(): void {
    const swallowed = this.#fault?.verb === "black-hole";
    this.#fault = undefined;
    for (const pair of [...this.#pairs]) if (swallowed) this.#end(pair);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pair of [...this.#pairs]) this.#end(pair);
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(near: Socket, targetPort: number): void {
    if (this.#fault?.verb === "reset") {
      near.resetAndDestroy();
      return;
    }
    const far = createConnection({ host: "127.0.0.1", port: targetPort, noDelay: true });
    const pair: Pair = {
      near,
      far,
      asking: new Way(far),
      answering: new Way(near),
      orphaned: false,
      answeredBytes: 0,
    };
    this.#pairs.add(pair);
    near.on("data", (chunk) => this.#pass(pair, chunk, pair.asking));
    far.on("data", (chunk) => this.#answer(pair, chunk));
    for (const socket of [near, far]) socket.on("error", () => undefined); // what matters is the close
    near.once("close", () => this.#end(pair));
    far.once("close", () => {
      if (!pair.orphaned && this.#fault?.verb !== "black-hole") this.#end(pair);
    });
  }

  #answer(pair: Pair, chunk: Buffer): void {
    const left = this.#fault?.verb === "cut-after" ? this.#fault.bytes - pair.answeredBytes : Number.POSITIVE_INFINITY;
    pair.answeredBytes += chunk.length;
    if (chunk.length < left) this.#pass(pair, chunk, pair.answering);
    else pair.near.write(chunk.subarray(0, Math.max(0, left)), () => this.#end(pair));
  }

  #pass(pair: Pair, chunk: Buffer, way: Way): void {
    const fault = this.#fault;
    if (fault?.verb === "black-hole" || pair.orphaned) return;
    way.send(chunk, fault?.verb === "latency" ? fault.ms : 0);
  }

  #end(pair: Pair): void {
    this.#pairs.delete(pair);
    if (!pair.near.destroyed) pair.near.resetAndDestroy();
    pair.far.destroy();
  }
}
