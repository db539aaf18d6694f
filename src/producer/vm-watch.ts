import type { EventFeed } from "../queue/event-feed.ts";
import { Bell } from "./bell.ts";

/** Why a wait for a change ended. */
type Wakeup = "changed" | "timeout" | "stopped";

/** Changes of one VM, from `open` on. A change while nobody waits is remembered. */
export interface VmChanges extends Disposable {
  /** Ends with the next change, after `timeoutMs`, or with `stopped`: the signal was aborted or the API shuts down. */
  next(timeoutMs: number, signal: AbortSignal): Promise<Wakeup>;
}

/** Tells waiting requests that something happened to their VM: one subscription to the feed for all of them. */
export class VmWatch {
  readonly #feed: Pick<EventFeed, "subscribe">;
  readonly #watchers = new Map<string, Set<Watcher>>();
  #unsubscribe: (() => void) | undefined;
  #stopped = false;

  constructor(feed: Pick<EventFeed, "subscribe">) {
    this.#feed = feed;
  }

  start(): void {
    this.#unsubscribe ??= this.#feed.subscribe((batch) => {
      for (const { event } of batch) for (const watcher of this.#watchers.get(event.subject) ?? []) watcher.changed();
    });
  }

  /** Wakes everybody for good. */
  stop(): void {
    this.#stopped = true;
    this.#unsubscribe?.();
    for (const watchers of this.#watchers.values()) for (const watcher of watchers) watcher.stop();
  }

  open(vmId: string): VmChanges {
    const watcher = new Watcher(() => this.#remove(vmId, watcher));
    if (this.#stopped) watcher.stop();
    const watchers = this.#watchers.get(vmId) ?? new Set();
    this.#watchers.set(vmId, watchers.add(watcher));
    return watcher;
  }

  /** How many requests wait. */
  get size(): number {
    let size = 0;
    for (const watchers of this.#watchers.values()) size += watchers.size;
    return size;
  }

  #remove(vmId: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(vmId);
    watchers?.delete(watcher);
    if (watchers?.size === 0) this.#watchers.delete(vmId);
  }
}

class Watcher implements VmChanges {
  readonly #remove: () => void;
  readonly #bell = new Bell();
  #stopped = false;

  constructor(remove: () => void) {
    this.#remove = remove;
  }

  changed(): void {
    this.#bell.ring();
  }

  stop(): void {
    this.#stopped = true;
    this.#bell.ring();
  }

  async next(timeoutMs: number, signal: AbortSignal): Promise<Wakeup> {
    const rung = this.#stopped || (await this.#bell.wait(timeoutMs, signal));
    if (this.#stopped || signal.aborted) return "stopped";
    return rung ? "changed" : "timeout";
  }

  [Symbol.dispose](): void {
    this.#remove();
  }
}
