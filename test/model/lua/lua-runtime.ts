import { matchPattern } from "./lua-pattern.ts";

/** What a call gives that gives not exactly one value. */
class Many {
  readonly values: readonly unknown[];
  constructor(values: readonly unknown[]) {
    this.values = values;
  }
}

export class LuaError extends Error {
  /** What was thrown, which need not be a text. */
  readonly value: unknown;
  constructor(value: unknown) {
    super(typeof value === "string" ? value : "a table was thrown");
    this.value = value;
  }
}

/** JSON's null, which is not nil. */
export const CJSON_NULL = Symbol("cjson.null");

export class LuaTable {
  readonly list: unknown[] = [];
  readonly #fields = new Map<unknown, unknown>();

  static ofList(values: readonly unknown[]): LuaTable {
    const table = new LuaTable();
    for (let at = 0; at < values.length; at++) {
      if (values[at] === undefined || at > table.list.length) table.set(at + 1, values[at]);
      else table.list.push(values[at]);
    }
    return table;
  }

  get(key: unknown): unknown {
    if (typeof key === "number" && key >= 1 && key <= this.list.length) return this.list[key - 1];
    return this.#fields.get(key);
  }

  set(key: unknown, value: unknown): void {
    if (typeof key !== "number" || key < 1 || key > this.list.length + 1) {
      if (value === undefined) this.#fields.delete(key);
      else this.#fields.set(key, value);
      return;
    }
    if (key <= this.list.length) this.list[key - 1] = value;
    else if (value !== undefined) {
      this.list.push(value);
      this.#fields.delete(key);
      for (let next = key + 1; this.#fields.has(next); next++) {
        this.list.push(this.#fields.get(next));
        this.#fields.delete(next);
      }
    }
    while (this.list.length > 0 && this.list.at(-1) === undefined) this.list.pop();
  }

  entries(): readonly (readonly [unknown, unknown])[] {
    const items = this.list.flatMap((value, at) => (value === undefined ? [] : [[at + 1, value] as const]));
    return [...items, ...this.#fields];
  }
}

type LuaFunction = (...args: unknown[]) => unknown;

function number(value: unknown): number {
  if (typeof value === "number") return value;
  const read = typeof value === "string" ? toNumber(value) : undefined;
  if (read === undefined) throw new LuaError(`attempt to perform arithmetic on a ${typeName(value)} value`);
  return read;
}

function toNumber(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value !== "string" || value.trim() === "") return undefined;
  const read = Number(value);
  return Number.isNaN(read) ? undefined : read;
}

/** As C prints `%.14g`. */
function shortNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e14) return String(value);
  const [mantissa = "", exponent = "0"] = value.toExponential(13).split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 14) return String(Number(value.toPrecision(14)));
  const digits = String(Math.abs(power)).padStart(2, "0");
  return `${Number(mantissa)}e${power < 0 ? "-" : "+"}${digits}`;
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return shortNumber(value);
  throw new LuaError(`attempt to concatenate a ${typeName(value)} value`);
}

function typeName(value: unknown): string {
  if (value === undefined) return "nil";
  if (value instanceof LuaTable) return "table";
  return value === CJSON_NULL ? "userdata" : typeof value;
}

function truth(value: unknown): boolean {
  return value !== undefined && value !== false;
}

function one(value: unknown): unknown {
  return value instanceof Many ? value.values[0] : value;
}

function all(value: unknown): readonly unknown[] {
  return value instanceof Many ? value.values : [value];
}

function less(a: unknown, b: unknown): boolean {
  if (typeof a === "number" && typeof b === "number") return a < b;
  if (typeof a === "string" && typeof b === "string") return a < b;
  throw new LuaError(`attempt to compare ${typeName(a)} with ${typeName(b)}`);
}

function length(value: unknown): number {
  if (value instanceof LuaTable) return value.list.length;
  if (typeof value === "string") return value.length;
  throw new LuaError(`attempt to get length of a ${typeName(value)} value`);
}

function get(of: unknown, key: unknown): unknown {
  if (of instanceof LuaTable) return of.get(key);
  throw new LuaError(`attempt to index a ${typeName(of)} value (field '${String(key)}')`);
}

function set(of: unknown, key: unknown, value: unknown): void {
  if (!(of instanceof LuaTable)) throw new LuaError(`attempt to index a ${typeName(of)} value`);
  of.set(key, value);
}

function call(of: unknown, ...args: unknown[]): unknown {
  if (typeof of !== "function") throw new LuaError(`attempt to call a ${typeName(of)} value`);
  return (of as LuaFunction)(...args);
}

function method(of: unknown, name: string, ...args: unknown[]): unknown {
  return call(get(typeof of === "string" ? STRING : of, name), of, ...args);
}

function table(items: readonly unknown[], fields: readonly (readonly [unknown, unknown])[]): LuaTable {
  const made = LuaTable.ofList(items);
  for (const [key, value] of fields) made.set(key, value);
  return made;
}

function count(from: number, to: number, step: number): readonly number[] {
  return Array.from({ length: Math.max(0, Math.floor((to - from) / step) + 1) }, (_, at) => from + at * step);
}

/** The values of a `for ... in`: what `pairs` and `ipairs` give is iterated; other iterators are in no script. */
function iterate(first: unknown): Iterable<readonly unknown[]> {
  if (!(first instanceof Pairs)) throw new LuaError("only pairs and ipairs are iterated");
  return first.entries;
}

class Pairs {
  readonly entries: Iterable<readonly unknown[]>;
  constructor(entries: Iterable<readonly unknown[]>) {
    this.entries = entries;
  }
}

/** Up to the first hole. */
function inOrder({ list }: LuaTable): readonly (readonly unknown[])[] {
  const hole = list.indexOf(undefined);
  return list.slice(0, hole < 0 ? list.length : hole).map((value, at) => [at + 1, value]);
}

function tableOf(value: unknown): LuaTable {
  if (!(value instanceof LuaTable)) throw new LuaError(`bad argument (table expected, got ${typeName(value)})`);
  return value;
}

function library(functions: Readonly<Record<string, LuaFunction | unknown>>): LuaTable {
  return table([], Object.entries(functions));
}

const STRING = library({
  sub: (of: unknown, from: unknown, to: unknown = -1) => {
    const whole = text(of);
    const at = (place: number) => (place < 0 ? whole.length + place + 1 : place);
    return whole.slice(Math.max(0, at(number(from)) - 1), Math.max(0, at(number(to))));
  },
  len: (of: unknown) => text(of).length,
  format: (pattern: unknown, ...values: unknown[]) =>
    text(pattern).replace(/%(?:\.(\d+))?([dsf])/g, (_whole, places: string | undefined, kind: string) => {
      const value = values.shift();
      if (kind === "s") return text(value);
      return kind === "d" ? String(Math.trunc(number(value))) : number(value).toFixed(Number(places ?? 6));
    }),
  rep: (of: unknown, count: unknown) => text(of).repeat(number(count)),
  gsub: (of: unknown, letter: unknown, by: unknown) => {
    if (!/^[a-z]$/.test(text(letter))) throw new LuaError("string.gsub is used with one letter only");
    const parts = text(of).split(text(letter));
    return new Many([parts.join(text(by)), parts.length - 1]);
  },
  match: (of: unknown, pattern: unknown) => {
    const found = matchPattern(text(of), text(pattern));
    return found === undefined ? undefined : new Many(found.captures);
  },
  find: (of: unknown, wanted: unknown, from: unknown = 1, plain: unknown = false) => {
    if (!truth(plain)) throw new LuaError("string.find is used with plain texts only");
    const at = text(of).indexOf(text(wanted), number(from) - 1);
    return at < 0 ? undefined : new Many([at + 1, at + text(wanted).length]);
  },
});

/** Lua's own functions, as far as the scripts use them. */
function basicGlobals(): Record<string, unknown> {
  return {
    tonumber: (value: unknown) => toNumber(value),
    tostring: (value: unknown) => (value === undefined ? "nil" : typeof value === "boolean" ? `${value}` : text(value)),
    type: typeName,
    next: (of: unknown) => {
      for (const [key, value] of tableOf(of).entries()) return new Many([key, value]);
      return undefined;
    },
    pairs: (of: unknown) => new Pairs(tableOf(of).entries()),
    ipairs: (of: unknown) => new Pairs(inOrder(tableOf(of))),
    unpack: (of: unknown, from: unknown = 1, to?: unknown) => {
      const last = to === undefined ? tableOf(of).list.length : number(to);
      return new Many(Array.from(count(number(from), last, 1), (at) => tableOf(of).get(at)));
    },
    error: (value: unknown) => {
      throw new LuaError(value);
    },
    pcall: (of: unknown, ...args: unknown[]) => {
      try {
        return new Many([true, ...all(call(of, ...args))]);
      } catch (error) {
        return new Many([false, error instanceof LuaError ? error.value : String(error)]);
      }
    },
    string: STRING,
    math: library({
      floor: (value: unknown) => Math.floor(number(value)),
      abs: (value: unknown) => Math.abs(number(value)),
      max: (...values: unknown[]) => Math.max(...values.map(number)),
      min: (...values: unknown[]) => Math.min(...values.map(number)),
    }),
    table: library({
      insert: (of: unknown, ...values: unknown[]) => {
        const { list } = tableOf(of);
        if (values.length === 1) tableOf(of).set(list.length + 1, values[0]);
        else list.splice(number(values[0]) - 1, 0, values[1]);
      },
      remove: (of: unknown, at?: unknown) => {
        const { list } = tableOf(of);
        return list.splice((at === undefined ? list.length : number(at)) - 1, 1)[0];
      },
      concat: (of: unknown, between: unknown = "") => tableOf(of).list.map(text).join(text(between)),
    }),
  };
}

/** What the JavaScript of a compiled script calls `$`; `given` are the globals of its host. */
export function luaRuntime(given: Readonly<Record<string, unknown>>) {
  return {
    globals: { ...basicGlobals(), ...given } as Record<string, unknown>,
    Many,
    all,
    call,
    count,
    get,
    iterate,
    length,
    less,
    method,
    modulo: (a: number, b: number) => a - Math.floor(a / b) * b,
    number,
    one,
    set,
    table,
    text,
    truth,
  };
}
export type LuaRuntime = ReturnType<typeof luaRuntime>;

export { library, number, text };
