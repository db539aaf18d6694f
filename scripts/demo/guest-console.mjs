import { INDENT } from "./screen.mjs";

/** Shows what the guest writes, line by line, while the VM lives; and from what is kept of it the rest at the end. */
export class GuestConsole {
  /** @type {string | undefined} */
  #lastLine;
  #hasEnded = false;

  /**
   * @param {import("./screen.mjs").Screen} screen
   * @param {(text: string) => readonly string[]} consoleLines
   */
  constructor(screen, consoleLines) {
    this.screen = screen;
    this.consoleLines = consoleLines;
  }

  /**
   * Returns at once. The console is an extra: what ends it ends nothing else.
   * @param {{ console(id: string, options: { follow: boolean }): AsyncIterable<Uint8Array> }} api
   * @param {string} vmId
   */
  follow(api, vmId) {
    this.#read(api, vmId).catch(() => undefined);
  }

  /** @param {string} kept the last lines, as they stay with the VM */
  tellRest(kept) {
    this.#hasEnded = true;
    const lines = this.consoleLines(kept);
    const from = this.#lastLine === undefined ? 0 : lines.lastIndexOf(this.#lastLine) + 1;
    for (const line of lines.slice(from)) this.#tell(line);
  }

  /**
   * @param {{ console(id: string, options: { follow: boolean }): AsyncIterable<Uint8Array> }} api
   * @param {string} vmId
   */
  async #read(api, vmId) {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of api.console(vmId, { follow: true })) {
      if (this.#hasEnded) return;
      const text = rest + decoder.decode(chunk, { stream: true });
      const end = text.lastIndexOf("\n") + 1;
      rest = text.slice(end);
      for (const line of this.consoleLines(text.slice(0, end))) this.#tell(line);
    }
  }

  /** @param {string} line */
  #tell(line) {
    if (line.trim() === "") return;
    this.#lastLine = line;
    const room = this.screen.columns - INDENT.length - 2;
    const shown = line.length <= room ? line : `${line.slice(0, room - 1)}\u2026`;
    this.screen.line(`${INDENT}${this.screen.paint(2, `| ${shown}`)}`);
  }
}
