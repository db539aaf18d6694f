import { setTimeout as delay } from "node:timers/promises";
import { SseParser } from "../../src/cli/client/sse-parser.ts";
import type { CloudEvent } from "../../src/contract/vm-event.ts";
import type { Recorder } from "./history.ts";
import { compareIds } from "./lives.ts";
import { Random } from "./random.ts";

const AGAIN_MS = 200;

/** A client that follows the events from the beginning, is cut again and again, and resumes with the last id it got. */
export class EventReader {
  readonly #name: string;
  readonly #url: string;
  readonly #recorder: Recorder;
  readonly #random: Random;
  readonly #stopped = new AbortController();
  readonly #done: Promise<void>;
  #lastId = "0";

  constructor({ name, url, recorder, seed }: { name: string; url: string; recorder: Recorder; seed: string }) {
    this.#name = name;
    this.#url = url;
    this.#recorder = recorder;
    this.#random = new Random(`${seed}/${name}`);
    this.#done = this.#follow();
  }

  /** Whether it has come as far as an event. */
  hasReached(id: string): boolean {
    return compareIds(this.#lastId, id) >= 0;
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#done;
  }

  async #follow(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      this.#recorder.add("read", { reader: this.#name, from: this.#lastId }, { process: this.#name, type: "invoke" });
      const cutMs = 200 + Math.round(this.#random.gap(4_000));
      const cut = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(cutMs)]);
      await this.#read(cut).catch(() => undefined); // cut, by us or by a fault
      await delay(AGAIN_MS, undefined, { signal: this.#stopped.signal }).catch(() => undefined);
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    const headers = { accept: "text/event-stream", "last-event-id": this.#lastId };
    const response = await fetch(`${this.#url}/v1/events`, { headers, signal });
    if (!response.ok || response.body === null) return;
    const parser = new SseParser();
    const decoder = new TextDecoder();
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) // as Node has it
      for (const message of parser.push(decoder.decode(chunk, { stream: true }))) {
        if (message.event === "gap") this.#note({ gap: true });
        const id = message.id;
        if (message.event === "gap" || id === undefined) continue;
        const event = JSON.parse(message.data) as CloudEvent; // the API's own
        this.#lastId = id;
        this.#note({ event: { id, seq: Number(event.sequence), name: event.type, data: {} } });
      }
  }

  #note(value: {
    gap?: true;
    event?: { id: string; seq: number; name: CloudEvent["type"]; data: Record<string, unknown> };
  }): void {
    this.#recorder.add("read", { reader: this.#name, ...value }, { process: this.#name });
  }
}
