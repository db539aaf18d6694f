/** A process of the simulation: a worker in one of its lives, the API, the kernel of a host, the network. */
export interface Actor {
  readonly name: string;
  isAlive: boolean;
  /** By how much its machine's clock is wrong. */
  readonly clock: { offsetMs: number };
  /** How many things it has done. */
  steps: number;
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly actor: Actor;
  readonly act: () => void;
  /** What is done to the outside even if the actor dies before it hears of it. */
  readonly effect: (() => void) | undefined;
  isCancelled: boolean;
}

/** What Unix time the simulated one begins at. */
export const EPOCH_MS = 1_700_000_000_000;

/**
 * Virtual time. Everything that waits does so here, as an event; how long each thing takes, and so the order of all, is
 * drawn from the seed. Between two events all promises run to their ends, and no real time counts.
 */
export class World {
  nowMs = 0;
  /** Whose code runs. */
  current: Actor;
  readonly network: Actor = { name: "network", isAlive: true, clock: { offsetMs: 0 }, steps: 0 };
  /** Lines of what happens, kept only when somebody will read them. */
  readonly story: string[] | undefined;
  #state: number;
  #heap: Event[] = [];
  #orders = 0;

  constructor({ seed, isTold = false }: { seed: number; isTold?: boolean }) {
    this.#state = seed >>> 0;
    this.current = this.network;
    this.story = isTold ? [] : undefined;
  }

  /** In [0, 1). Mulberry32. */
  readonly random = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };

  /** How long a small thing takes: mostly little, now and then much. */
  delayMs(): number {
    const [kind, part] = [this.random(), this.random()];
    if (kind < 0.85) return 0.05 + part;
    return kind < 0.99 ? 1 + 40 * part : 100 + 900 * part;
  }

  tell(who: string, what: () => string): void {
    this.story?.push(`${(this.nowMs / 1000).toFixed(3).padStart(9)} ${who}: ${what()}`);
  }

  /** `act` runs after `ms`, unless the actor has died by then. */
  after(actor: Actor, ms: number, act: () => void, effect?: () => void): { cancel(): void } {
    this.#orders += 1;
    const event: Event = { atMs: this.nowMs + ms, order: this.#orders, actor, act, effect, isCancelled: false };
    this.#push(event);
    return {
      cancel: () => {
        event.isCancelled = true;
      },
    };
  }

  /** Something that the current actor does to the outside, and then hears of. Rejects with what `effect` throws. */
  async does<T>(effect: () => T, ms = this.delayMs()): Promise<T> {
    const actor = this.current;
    return new Promise((resolve, reject) => {
      const act = () => {
        try {
          resolve(effect());
        } catch (error) {
          reject(error);
        }
      };
      this.after(actor, ms, act, () => {
        try {
          effect();
        } catch {
          // Nobody lives who could hear of it.
        }
      });
    });
  }

  /** The actor dies. What it was doing has happened, or not. */
  kill(actor: Actor): void {
    actor.isAlive = false;
    for (const event of [...this.#heap].sort(byTime)) {
      if (event.actor !== actor || event.isCancelled) continue;
      event.isCancelled = true;
      if (event.effect !== undefined && this.random() < 0.5) event.effect();
    }
    this.#heap = this.#heap.filter(({ isCancelled }) => !isCancelled).sort(byTime); // a sorted list is a heap
  }

  /** Starts a story in the name of an actor. */
  spawn(actor: Actor, story: () => Promise<unknown>, onError: (error: unknown) => void = () => undefined): void {
    this.after(actor, 0, () => void story().catch(onError));
  }

  /** Lets time pass. `onStep` is called after every event; it may throw. */
  async run(ms: number, onStep: () => void): Promise<void> {
    const untilMs = this.nowMs + ms;
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#pop();
      if (next.isCancelled || !next.actor.isAlive) continue;
      next.actor.steps += 1;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      this.current = next.actor;
      next.act();
      await promisesDone();
      this.current = this.network;
      onStep();
    }
    this.nowMs = untilMs;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Event;
      if (byTime(parent, event) <= 0) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      const [left, right] = [heap[below], heap[below + 1]];
      if (left === undefined) break;
      if (right !== undefined && byTime(right, left) < 0) below += 1;
      const smaller = heap[below] as Event;
      if (byTime(last, smaller) <= 0) break;
      heap[at] = smaller;
      at = below;
    }
    heap[at] = last;
  }
}

function byTime(a: Event, b: Event): number {
  return a.atMs - b.atMs || a.order - b.order;
}

/** Node runs a next tick only when no promise has anything left to do; the second one follows what the first led to. */
function promisesDone(): Promise<void> {
  return new Promise((resolve) => {
    process.nextTick(() => process.nextTick(resolve));
  });
}
