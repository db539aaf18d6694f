const LABEL_CHARS = 16;
/** What stands under an event begins here. */
export const INDENT = " ".repeat(9);

/** Plain lines; colours on a terminal only, and not with NO_COLOR. */
export class Screen {
  /**
   * @param {NodeJS.WriteStream} stream
   * @param {Readonly<Record<string, string | undefined>>} env
   */
  constructor(stream, env) {
    this.stream = stream;
    this.colours = stream.isTTY === true && !env["NO_COLOR"] && env["TERM"] !== "dumb";
    this.columns = Number(env["COLUMNS"]) || stream.columns || 80;
    stream.on("error", () => undefined); // a reader that has gone must not keep the demo from cleaning up
  }

  /** @param {string} text */
  line(text) {
    this.stream.write(`${text}\n`);
  }

  /** @param {string} text */
  title(text) {
    this.line(`\n${this.paint(1, text)}\n`);
  }

  /**
   * @param {string} label
   * @param {string} text
   */
  fact(label, text) {
    const [first = "", ...more] = wrapWords(text, this.columns - LABEL_CHARS - 1);
    this.line(`${label.padEnd(LABEL_CHARS)} ${first}`);
    for (const rest of more) this.line(`${" ".repeat(LABEL_CHARS)} ${rest}`);
  }

  /** @param {string} text */
  error(text) {
    this.line(`\n${this.paint(31, "the demo failed:")} ${text}`);
  }

  /** @param {{ url: string, stateDir: string, logFile: string, isDefaultUrl: boolean }} where */
  addresses({ url, stateDir, logFile, isDefaultUrl }) {
    this.title("Everything stays up. Look around:");
    this.fact("dashboard", `${url}/board`);
    this.fact("API docs", `${url}/docs`);
    this.fact("API", url);
    this.fact("files", `${stateDir}, log ${logFile}`);
    this.title("In another terminal:");
    if (!isDefaultUrl) this.line(`  export DROVER_URL=${url}`);
    this.line("  bin/drover ls");
    this.line("  bin/drover submit --wait --result --server-url demo:halt-in:5");
    this.line("  bin/drover --help");
    this.title("Ctrl-C stops everything.");
  }

  /**
   * @param {number} code of the colour
   * @param {string} text
   */
  paint(code, text) {
    return this.colours ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}

/**
 * @param {string} text
 * @param {number} width
 * @returns {string[]}
 */
export function wrapWords(text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1) ?? "";
    if (last === "") lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
