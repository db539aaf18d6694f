import type { EventEmitter } from "node:events";
import { type Reply, ReplyError } from "../redis/data.ts";
import type { Transport } from "../redis/fake-client.ts";
import type { BatchReply, Command, FakeRedis } from "../redis/fake-redis.ts";
import type { Actor, World } from "./world.ts";

/** ioredis gives a connection up that has been silent for this long with an answer due. */
const HALF_OPEN_MS = 8_000;
const RECONNECT_MAX_MS = 1_000;
const LATE_MAX_MS = 4_000;

/** A place in the network from which Redis can be reached, or not. */
export interface Place {
  readonly name: string;
  /** Undefined: connected. `reset`: connections break; `silent`: nothing comes through and nobody says so. */
  cut: "reset" | "silent" | undefined;
}

interface Pending {
  readonly command: Command;
  resolve(reply: Reply | BatchReply): void;
  reject(error: Error): void;
}

interface Blocked {
  readonly keys: readonly string[];
  readonly answer: (reply: Reply) => void;
  isOver: boolean;
}

/** Redis and all connections to it. */
export class Network {
  readonly world: World;
  readonly server: FakeRedis;
  isServerUp = true;
  readonly #links = new Set<Link>();
  #blocked: Blocked[] = [];

  constructor(world: World, server: FakeRedis) {
    this.world = world;
    this.server = server;
  }

  /** `isPatient`: as `openRedis` for workers, that wait and send again; otherwise as for the API, that fails at once. */
  open(actor: Actor, place: Place, isPatient: boolean): (events: EventEmitter) => Transport {
    return (events) => {
      const link = new Link(this, { actor, place, isPatient, events });
      this.#links.add(link);
      return link;
    };
  }

  reaches(place: Place): boolean {
    return this.isServerUp && place.cut === undefined;
  }

  /** Connections of a place break, or come back, as its `cut` says by now. */
  refresh(): void {
    for (const link of this.#links) link.refresh();
  }

  /** The server's process dies; what it had not written to disk is the caller's to take away. */
  stopServer(): void {
    this.isServerUp = false;
    this.#blocked = [];
    for (const link of this.#links) link.cut(0);
  }

  startServer(): void {
    this.server.restart();
    this.isServerUp = true;
    this.refresh();
  }

  /** The process of an actor has died: what it had sent may arrive yet. */
  abandon(actor: Actor): void {
    for (const link of this.#links) {
      if (link.actor !== actor) continue;
      link.cut(this.world.random());
      this.#links.delete(link);
    }
  }

  forget(link: Link): void {
    this.#links.delete(link);
  }

  /** Carries a command out; whoever is blocked may be served by it. */
  execute(command: Command): Reply | BatchReply {
    try {
      return this.server.execute(command);
    } finally {
      this.#serveBlocked();
    }
  }

  block(keys: readonly string[], timeoutMs: number, answer: (reply: Reply) => void): Blocked {
    const blocked: Blocked = { keys, answer, isOver: false };
    this.#blocked.push(blocked);
    this.world.after(this.world.network, timeoutMs, () => {
      if (blocked.isOver) return;
      blocked.isOver = true;
      answer(null);
    });
    this.#serveBlocked();
    return blocked;
  }

  #serveBlocked(): void {
    if (this.#blocked.length === 0) return;
    this.#blocked = this.#blocked.filter(({ isOver }) => !isOver);
    for (const blocked of this.#blocked) {
      for (const key of blocked.keys) {
        if (blocked.isOver || this.server.keys.kindOf(key) !== "zset") continue;
        const [member, score] = this.server.execute({ name: "ZPOPMIN", args: [key] }) as [string, string];
        blocked.isOver = true;
        blocked.answer([key, member, score]);
      }
    }
  }
}

/** One connection: commands arrive in their order, answers come back in it. What is unanswered at a cut is sent again. */
class Link implements Transport {
  readonly actor: Actor;
  readonly #network: Network;
  readonly #place: Place;
  readonly #isPatient: boolean;
  readonly #events: EventEmitter;
  status: "ready" | "reconnecting" | "end" = "ready";
  readonly #unanswered = new Set<Pending>();
  /** Sent on the connection that there is now, and not arrived yet. */
  readonly #onTheWay = new Set<Pending>();
  /** Arrive although their connection is gone, after so many ms more: a slow Redis reads what its buffers hold. */
  readonly #late = new WeakMap<Pending, number>();
  #generation = 0;
  #lastArrivalMs = 0;
  #lastReplyMs = 0;
  #blocked: Blocked | undefined;
  /** What would come through if the place were not silent. */
  #held: (() => void)[] = [];
  #isConnecting = false;

  constructor(network: Network, options: { actor: Actor; place: Place; isPatient: boolean; events: EventEmitter }) {
    this.#network = network;
    this.actor = options.actor;
    this.#place = options.place;
    this.#isPatient = options.isPatient;
    this.#events = options.events;
    if (!network.reaches(this.#place)) this.cut(0);
  }

  send(command: Command): Promise<Reply | BatchReply> {
    return new Promise((resolve, reject) => {
      if (this.status === "end") return reject(new Error("Connection is closed."));
      if (this.status !== "ready" && !this.#isPatient) return reject(new Error("Stream isn't writeable"));
      const pending: Pending = { command, resolve, reject };
      this.#unanswered.add(pending);
      if (this.status === "ready") this.#transmit(pending);
    });
  }

  disconnect(): void {
    if (this.status === "end") return;
    this.#drop(this.#network.world.random());
    this.status = "end";
    this.#network.forget(this);
    for (const { reject } of this.#unanswered) reject(new Error("Connection is closed."));
    this.#unanswered.clear();
    this.#events.emit("close");
    this.#events.emit("end");
  }

  duplicate(events: EventEmitter): Transport {
    return this.#network.open(this.actor, this.#place, this.#isPatient)(events);
  }

  refresh(): void {
    if (this.status === "end") return;
    if (this.#place.cut === "reset" || !this.#network.isServerUp) this.cut(this.#network.world.random());
    else if (this.#place.cut === undefined) {
      for (const pass of this.#held.splice(0)) pass();
      if (this.status === "reconnecting") this.#reconnect();
    }
  }

  /** `share` of what is on the way still arrives, the earliest of it. */
  cut(share: number): void {
    if (this.status !== "ready") return;
    this.#drop(share);
    this.status = "reconnecting";
    if (!this.#isPatient) {
      for (const { reject } of this.#unanswered) reject(new Error("Connection is closed."));
      this.#unanswered.clear();
    }
    this.#events.emit("close");
    if (this.#network.reaches(this.#place)) this.#reconnect();
  }

  #drop(share: number): void {
    this.#generation += 1;
    this.#held = [];
    if (this.#blocked !== undefined) this.#blocked.isOver = true;
    this.#blocked = undefined;
    const { world } = this.#network;
    const kept = [...this.#onTheWay].slice(0, Math.floor(share * (this.#onTheWay.size + 1)));
    const moreMs = kept.length > 0 && world.random() < 0.3 ? LATE_MAX_MS * world.random() : 0;
    for (const pending of kept) this.#late.set(pending, moreMs);
    this.#onTheWay.clear();
  }

  #reconnect(): void {
    if (this.#isConnecting) return;
    this.#isConnecting = true;
    const { world } = this.#network;
    world.after(this.actor, 50 + RECONNECT_MAX_MS * world.random(), () => {
      this.#isConnecting = false;
      if (this.status !== "reconnecting" || !this.#network.reaches(this.#place)) return;
      this.status = "ready";
      for (const pending of this.#unanswered) this.#transmit(pending); // also what was carried out already
      this.#events.emit("ready");
    });
  }

  #transmit(pending: Pending): void {
    const { world } = this.#network;
    const generation = this.#generation;
    this.#onTheWay.add(pending);
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, world.nowMs + world.delayMs());
    world.after(world.network, this.#lastArrivalMs - world.nowMs, () => this.#arrive(pending, generation));
  }

  #arrive(pending: Pending, generation: number): void {
    const isCurrent = generation === this.#generation;
    const lateMs = this.#late.get(pending) ?? 0;
    if (!isCurrent && !this.#late.has(pending)) return;
    if (!this.#network.isServerUp) return;
    if (!isCurrent && lateMs > 0) {
      this.#late.set(pending, 0);
      const { world } = this.#network;
      world.after(world.network, lateMs, () => this.#arrive(pending, generation));
      return;
    }
    if (isCurrent && this.#place.cut === "silent") {
      this.#held.push(() => this.#arrive(pending, generation));
      this.#noticeSilence(generation);
      return;
    }
    this.#onTheWay.delete(pending);
    if (pending.command.name === "BZPOPMIN") {
      const keys = pending.command.args.slice(0, -1);
      const timeoutMs = Number(pending.command.args.at(-1)) * 1000;
      const blocked = this.#network.block(keys, timeoutMs, (reply) =>
        this.#answer(pending, generation, () => pending.resolve(reply)),
      );
      if (isCurrent) this.#blocked = blocked;
      return;
    }
    if (this.#network.world.story !== undefined) this.#tell(pending.command);
    let tell: () => void;
    try {
      const reply = this.#network.execute(pending.command);
      tell = () => pending.resolve(reply);
    } catch (error) {
      if (!(error instanceof ReplyError)) throw error;
      tell = () => pending.reject(error);
    }
    this.#answer(pending, generation, tell);
  }

  #tell(command: Command): void {
    const text = brief(command, this.#network.server);
    if (!NOISE.test(text)) this.#network.world.tell(this.actor.name, () => `-> ${text}`);
  }

  #answer(pending: Pending, generation: number, tell: () => void): void {
    if (generation !== this.#generation) return;
    const { world } = this.#network;
    const deliver = () => {
      if (generation !== this.#generation || !this.#unanswered.has(pending)) return;
      if (this.#place.cut === "silent") {
        // Through the actor: what it does next must not count as done by whoever heals the network.
        this.#held.push(() => world.after(this.actor, 0, deliver));
        this.#noticeSilence(generation);
        return;
      }
      this.#unanswered.delete(pending);
      tell();
    };
    this.#lastReplyMs = Math.max(this.#lastReplyMs, world.nowMs + world.delayMs());
    world.after(this.actor, this.#lastReplyMs - world.nowMs, deliver);
  }

  #noticeSilence(generation: number): void {
    const { world } = this.#network;
    world.after(this.actor, HALF_OPEN_MS, () => {
      if (generation === this.#generation && this.#place.cut === "silent") this.cut(0);
    });
  }
}

/** Commands that only say that somebody lives and looks. */
const NOISE =
  /^(a script that|LEASE_TAKE|COUNT_PORTS|GENERATION|Move next|Extend locks|INFO|SMEMBERS|LRANGE|MGET|TIME|ZRANGE|HGETALL|HMGET)/;

function brief({ name, args, batch }: Command, server: FakeRedis): string {
  if (batch !== undefined) return batch.map((each) => each.name).join(" ");
  if (name !== "EVAL" && name !== "EVALSHA") return `${name} ${args.join(" ").slice(0, 100)}`;
  const script = name === "EVAL" ? args[0] : server.scriptOf(args[0] ?? "");
  const title = /--\[\[\s*([^\n:]{0,40})/.exec(script ?? "")?.[1] ?? "a script that is not loaded";
  return `${title} ${args.slice(2).join(" ").slice(-120)}`.replace(/[^\x20-\x7e]/g, ".");
}
