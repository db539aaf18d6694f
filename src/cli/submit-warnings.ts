import type { VmAccepted } from "../contract/vm-view.ts";
import { printable } from "./render/text-width.ts";
import type { Terminal } from "./terminal.ts";

/** Says what stands in the way of VMs that were accepted, each thing once, however many of them it concerns. */
export class SubmitWarnings {
  readonly #terminal: Pick<Terminal, "err" | "errPaint">;
  readonly #told = new Set<string>();

  constructor(terminal: Pick<Terminal, "err" | "errPaint">) {
    this.#terminal = terminal;
  }

  tell({ warnings }: Pick<VmAccepted, "warnings">): void {
    for (const { message } of warnings) {
      if (this.#told.has(message)) continue;
      this.#told.add(message);
      this.#terminal.err(`${this.#terminal.errPaint.yellow("Accepted, but it waits:")} ${printable(message)}\n`);
    }
  }
}
