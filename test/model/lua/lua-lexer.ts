/** A piece of Lua source. `end` comes once, last of all. */
export interface Token {
  readonly kind: "name" | "keyword" | "string" | "number" | "symbol" | "end";
  readonly text: string;
  readonly line: number;
}

const KEYWORDS = new Set(
  "and break do else elseif end false for function if in local nil not or repeat return then true until while".split(
    " ",
  ),
);
const SYMBOLS = /^(?:\.\.\.|\.\.|==|~=|<=|>=|[-+*/%^#<>=(){}[\];:,.])/;
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "\\": "\\", '"': '"', "'": "'" };

/** Splits Lua 5.1 source as far as drover's and BullMQ's scripts use it. Throws on anything else. */
export function lex(source: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = source.startsWith("#!") ? source.indexOf("\n") : 0;
  let line = 1;
  const take = (kind: Token["kind"], text: string, length: number) => {
    tokens.push({ kind, text, line });
    at += length;
  };
  while (at < source.length) {
    const rest = source.slice(at, at + 200);
    const space = /^\s+/.exec(rest)?.[0];
    if (space !== undefined) {
      line += space.split("\n").length - 1;
      at += space.length;
      continue;
    }
    const longComment = /^--\[(=*)\[/.exec(rest);
    if (longComment !== null) {
      const close = `]${longComment[1]}]`;
      const end = source.indexOf(close, at) + close.length;
      line += source.slice(at, end).split("\n").length - 1;
      at = end;
      continue;
    }
    if (rest.startsWith("--")) {
      const end = source.indexOf("\n", at);
      at = end < 0 ? source.length : end;
      continue;
    }
    const name = /^[A-Za-z_]\w*/.exec(rest)?.[0];
    if (name !== undefined) {
      take(KEYWORDS.has(name) ? "keyword" : "name", name, name.length);
      continue;
    }
    const number = /^(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][-+]?\d+)?)/.exec(rest)?.[0];
    if (number !== undefined) {
      take("number", number, number.length);
      continue;
    }
    if (rest.startsWith('"') || rest.startsWith("'")) {
      const { text, length } = readString(source, at, line);
      take("string", text, length);
      continue;
    }
    const symbol = SYMBOLS.exec(rest)?.[0];
    if (symbol === undefined) throw new Error(`Lua, line ${line}: cannot read ${JSON.stringify(rest.slice(0, 20))}`);
    take("symbol", symbol, symbol.length);
  }
  tokens.push({ kind: "end", text: "", line });
  return tokens;
}

function readString(source: string, start: number, line: number): { text: string; length: number } {
  const quote = source[start];
  let text = "";
  for (let at = start + 1; at < source.length; at++) {
    const char = source[at] ?? "";
    if (char === quote) return { text, length: at - start + 1 };
    if (char !== "\\") {
      text += char;
      continue;
    }
    at += 1;
    const escaped = ESCAPES[source[at] ?? ""];
    if (escaped === undefined) throw new Error(`Lua, line ${line}: unknown escape`);
    text += escaped;
  }
  throw new Error(`Lua, line ${line}: a text without end`);
}
