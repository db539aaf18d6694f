export interface SseMessage {
  /** The last id that the stream named, in this message or before it. */
  readonly id: string | undefined;
  readonly event: string;
  readonly data: string;
}

/** One message is an event of a few hundred bytes; this only keeps a stranger's endless line from filling memory. */
const MESSAGE_MAX_CHARS = 4 * 1024 * 1024;

/** Cuts a text stream into server-sent events, wherever its chunks end (WHATWG HTML, 9.2.6). Comments are dropped. */
export class SseParser {
  #rest = "";
  #id: string | undefined;
  #event = "";
  #data: string[] = [];
  #dataChars = 0;

  /** Where the stream stands: ids come with empty messages, too, so that a quiet reader keeps its place. */
  get lastId(): string | undefined {
    return this.#id;
  }

  push(chunk: string): readonly SseMessage[] {
    const messages: SseMessage[] = [];
    let text = this.#rest + chunk;
    // A lone CR at the end may be the first half of CR LF.
    const heldBack = text.endsWith("\r") ? "\r" : "";
    if (heldBack !== "") text = text.slice(0, -1);
    const lines = text.split(/\r\n|\n|\r/);
    this.#rest = (lines.pop() ?? "") + heldBack;
    for (const line of lines) {
      if (line === "") this.#dispatch(messages);
      else this.#field(line);
    }
    if (this.#rest.length + this.#dataChars > MESSAGE_MAX_CHARS)
      throw new RangeError("an event of the stream is too long");
    return messages;
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") {
      this.#data.push(value);
      this.#dataChars += value.length;
    } else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
  }

  #dispatch(messages: SseMessage[]): void {
    if (this.#data.length > 0)
      messages.push({ id: this.#id, event: this.#event || "message", data: this.#data.join("\n") });
    this.#event = "";
    this.#data = [];
    this.#dataChars = 0;
  }
}
