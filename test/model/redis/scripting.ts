import { compileLua } from "../lua/lua-compiler.ts";
import {
  CJSON_NULL,
  LuaError,
  type LuaRuntime,
  LuaTable,
  library,
  luaRuntime,
  number,
  text,
} from "../lua/lua-runtime.ts";
import { type Reply, ReplyError, Status } from "./data.ts";
import { unpackMessage } from "./msgpack.ts";

/** Calls one command, as a script does: arguments are texts. Throws {@link ReplyError}. */
export type CallCommand = (name: string, args: readonly string[]) => Reply;

type Script = ($: LuaRuntime) => unknown;
const compiled = new Map<string, Script>();

/** Runs the text of a script as Redis does, on the keys that `call` reaches. */
export function runScript(source: string, keys: readonly string[], args: readonly string[], call: CallCommand): Reply {
  let script = compiled.get(source);
  if (script === undefined) {
    script = new Function("$", compileLua(source)) as Script;
    compiled.set(source, script);
  }
  callCommand = call;
  $.globals["KEYS"] = LuaTable.ofList(keys);
  $.globals["ARGV"] = LuaTable.ofList(args);
  try {
    return toReply($.one(script($)));
  } catch (error) {
    if (error instanceof LuaError) throw new ReplyError(`ERR ${error.message}`, { cause: error });
    throw error;
  }
}

/** Of the script that runs: there is never more than one. */
let callCommand: CallCommand = () => null;

function run(...given: unknown[]): unknown {
  const [name, ...rest] = given;
  return toLua(callCommand(text(name).toUpperCase(), rest.map(argumentText)));
}

/** Redis prints a script's numbers with 17 digits. */
function argumentText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  throw new ReplyError("ERR Lua redis lib command arguments must be strings or integers");
}

function toLua(reply: Reply): unknown {
  if (reply === null) return false;
  if (reply instanceof Status) return library({ ok: reply.text });
  return Array.isArray(reply) ? LuaTable.ofList(reply.map(toLua)) : reply;
}

function toReply(value: unknown): Reply {
  if (typeof value === "number") return Math.trunc(value);
  if (typeof value === "string") return value;
  if (value === true) return 1;
  if (!(value instanceof LuaTable)) return null;
  const ok = value.get("ok");
  if (typeof ok === "string") return new Status(ok);
  const error = value.get("err");
  if (typeof error === "string") throw new ReplyError(error);
  const items: Reply[] = [];
  for (const item of value.list) {
    if (item === undefined) break;
    items.push(toReply(item));
  }
  return items;
}

const LIBRARIES = {
  cjson: library({
    null: CJSON_NULL,
    decode: (value: unknown) => fromJson(parse(text(value))),
    encode: (value: unknown) => JSON.stringify(toJson(value)),
  }),
  cmsgpack: library({ unpack: (value: unknown) => fromMessage(unpackMessage(Buffer.from(text(value), "latin1"))) }),
};

const REDIS = library({
  call: run,
  pcall: (...given: unknown[]) => {
    try {
      return run(...given);
    } catch (error) {
      if (!(error instanceof ReplyError)) throw error;
      return library({ err: error.message });
    }
  },
});

const $ = luaRuntime({ ...LIBRARIES, redis: REDIS });

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new LuaError(`Expected value but found invalid token: ${error}`);
  }
}

function fromJson(value: unknown): unknown {
  if (value === null || value === undefined) return CJSON_NULL;
  if (Array.isArray(value)) return LuaTable.ofList(value.map(fromJson));
  if (typeof value !== "object") return value;
  const table = new LuaTable();
  for (const [key, each] of Object.entries(value)) table.set(key, fromJson(each));
  return table;
}

/** In a message nil is nil. */
function fromMessage(value: unknown): unknown {
  if (value === null) return undefined;
  if (Array.isArray(value)) return LuaTable.ofList(value.map(fromMessage));
  if (typeof value !== "object") return value;
  return library(Object.fromEntries(Object.entries(value as object).map(([key, each]) => [key, fromMessage(each)])));
}

/** A table without anything in it is an object, as with cjson. */
function toJson(value: unknown): unknown {
  if (value === CJSON_NULL || value === undefined) return null;
  if (!(value instanceof LuaTable)) return typeof value === "number" ? Number(text(number(value))) : value;
  if (value.list.length > 0) return value.list.map(toJson);
  return Object.fromEntries([...value.entries()].map(([key, each]) => [text(key), toJson(each)]));
}
