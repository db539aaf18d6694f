/** The API's event stream, with the moment at which each event arrived here. */
export class EventTap {
  readonly #seen = new Map<string, number>();
  readonly #waiting = new Map<string, (atMs: number) => void>();
  readonly #abort = new AbortController();

  /** Comes back once the stream is open, so that no event of a later request is missed. */
  static async open(url: string): Promise<EventTap> {
    const tap = new EventTap();
    const response = await fetch(`${url}/v1/events`, {
      headers: { accept: "text/event-stream" },
      signal: tap.#abort.signal,
    });
    if (response.body === null) throw new Error("no event stream");
    void tap.#read(response.body).catch(() => undefined); // closed by us
    return tap;
  }

  /** The moment (performance.now) at which the event arrived; waits for it. */
  arrival(vmId: string, type: string, patienceMs = 60_000): Promise<number> {
    const key = `${vmId} ${type}`;
    const known = this.#seen.get(key);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`no ${type} of ${vmId} within ${patienceMs / 1_000} s`));
      const timer = setTimeout(late, patienceMs);
      this.#waiting.set(key, (atMs) => {
        clearTimeout(timer);
        resolve(atMs);
      });
    });
  }

  /** What has arrived so far counts no more: the next event of each kind is waited for. */
  forget(): void {
    this.#seen.clear();
  }

  close(): void {
    this.#abort.abort();
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      const atMs = performance.now();
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.startsWith("data: ")) this.#note(JSON.parse(line.slice(6)), atMs);
    }
  }

  #note(event: { subject?: string; type?: string }, atMs: number): void {
    const key = `${event.subject} ${event.type}`;
    this.#seen.set(key, atMs);
    this.#waiting.get(key)?.(atMs);
    this.#waiting.delete(key);
  }
}
