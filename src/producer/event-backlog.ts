import type { StoredEvent } from "../queue/event-log.ts";
import { Bell } from "./bell.ts";

/**
 * What came from the feed and was not yet written to one reader, in order, bounded. Only events that pass the reader's
 * filter take room; the position moves with all of them.
 */
export class EventBacklog {
  readonly #maxEvents: number;
  readonly #passes: (event: StoredEvent) => boolean;
  readonly #bell = new Bell();
  #events: StoredEvent[] = [];
  #position: string | undefined;
  #overflown = false;

  constructor({ maxEvents, passes }: { maxEvents: number; passes: (event: StoredEvent) => boolean }) {
    this.#maxEvents = maxEvents;
    this.#passes = passes;
  }

  add(batch: readonly StoredEvent[]): void {
    this.#position = batch.at(-1)?.id ?? this.#position;
    for (const stored of batch) {
      if (!this.#passes(stored)) continue;
      if (this.#events.length >= this.#maxEvents) this.#overflown = true;
      else this.#events.push(stored);
    }
    if (this.#events.length > 0) this.#bell.ring();
  }

  /** Whether events were dropped since the last `reset`. */
  get overflown(): boolean {
    return this.#overflown;
  }

  /** Takes out everything that waits, with the id of the newest event up to then, whether it passed or not. */
  take(): { readonly events: readonly StoredEvent[]; readonly position: string | undefined } {
    return { events: this.#events.splice(0), position: this.#position };
  }

  reset(): void {
    this.#events = [];
    this.#overflown = false;
  }

  /** Waits until something is there, at most `timeoutMs`, or until the signal is aborted; says whether it came. */
  waiting(timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    return this.#bell.wait(timeoutMs, signal);
  }
}
