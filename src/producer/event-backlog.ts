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

  /** Id of the newest event that the feed gave, whether it passed or not. */
  get position(): string | undefined {
    return this.#position;
  }

  /** Takes out everything that waits. */
  take(): readonly StoredEvent[] {
    return this.#events.splice(0);
  }

  reset(): void {
    this.#events = [];
    this.#overflown = false;
  }

  /** Resolves when something is there, after `timeoutMs`, or when the signal is aborted. */
  async waiting(timeoutMs: number, signal: AbortSignal): Promise<void> {
    await this.#bell.wait(timeoutMs, signal);
  }
}
