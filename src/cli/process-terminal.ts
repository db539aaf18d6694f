import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { createPaint, wantsColour } from "./render/paint.ts";
import type { Terminal } from "./terminal.ts";

const COLUMNS_DEFAULT = 80;
const COLUMNS_MIN = 40;

/** The real terminal. A reader that has gone (`drover ls | head -1`) ends the command quietly. */
export function processTerminal(process: NodeJS.Process): Terminal {
  const { stdout, stderr, stdin, env } = process;
  for (const stream of [stdout, stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit();
      throw error;
    });
  }
  return {
    out: (text) =>
      new Promise((resolve, reject) => {
        stdout.write(text, (error) => (error == null ? resolve() : reject(error)));
      }),
    err: (text) => void stderr.write(text),
    columns: Math.max(COLUMNS_MIN, Number(env["COLUMNS"]) || (stdout.columns ?? stderr.columns ?? COLUMNS_DEFAULT)),
    outIsScreen: stdout.isTTY === true,
    errIsScreen: stderr.isTTY === true,
    paint: createPaint(wantsColour(stdout.isTTY === true, env)),
    errPaint: createPaint(wantsColour(stderr.isTTY === true, env)),
    ask: async (question, signal) => {
      if (stdin.isTTY !== true || stderr.isTTY !== true) return undefined;
      // Not as a terminal: it stays as it is, so that Ctrl-C is the signal that it is elsewhere.
      const lines = createInterface({ input: stdin, output: stderr, terminal: false });
      try {
        return await Promise.race([
          lines.question(question, { signal }),
          once(lines, "close", { signal }).then(() => ""), // Ctrl-D
        ]);
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      } finally {
        lines.close();
      }
    },
    readStdin: async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks);
    },
  };
}
