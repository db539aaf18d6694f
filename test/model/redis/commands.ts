import { type Keyspace, type Reply, ReplyError, Status } from "./data.ts";

type Command = (keys: Keyspace, args: readonly string[]) => Reply;

const OK = new Status("OK");

function arg(args: readonly string[], at: number): string {
  const value = args[at];
  if (value === undefined) throw new ReplyError("ERR wrong number of arguments");
  return value;
}

function integer(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value)) throw new ReplyError("ERR value is not an integer or out of range");
  return value;
}

function float(text: string): number {
  if (text === "-inf") return Number.NEGATIVE_INFINITY;
  if (text === "+inf" || text === "inf") return Number.POSITIVE_INFINITY;
  const value = Number(text);
  if (text === "" || Number.isNaN(value)) throw new ReplyError("ERR value is not a valid float");
  return value;
}

/** Pairs of what follows `from`. */
function pairs(args: readonly string[], from: number): [string, string][] {
  const found: [string, string][] = [];
  for (let at = from; at < args.length; at += 2) found.push([arg(args, at), arg(args, at + 1)]);
  return found;
}

/** From first to last place, both counted from the end where negative. */
function slice<T>(items: readonly T[], first: string, last: string): readonly T[] {
  const place = (text: string) => (integer(text) < 0 ? items.length + integer(text) : integer(text));
  return items.slice(Math.max(0, place(first)), Math.max(0, place(last) + 1));
}

function ordered(keys: Keyspace, key: string): readonly (readonly [member: string, score: number])[] {
  const zset = keys.read(key, "zset");
  if (zset === undefined) return [];
  return [...zset.scores].sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1));
}

/** Redis prints a score with 17 digits where it needs them. */
function scoreText(score: number): string {
  if (score === Number.POSITIVE_INFINITY) return "inf";
  return score === Number.NEGATIVE_INFINITY ? "-inf" : String(score);
}

function withScores(members: readonly (readonly [string, number])[], wanted: boolean): string[] {
  return members.flatMap(([member, score]) => (wanted ? [member, scoreText(score)] : [member]));
}

function bounds(first: string, last: string): (score: number) => boolean {
  const [low, lowOpen] = first.startsWith("(") ? [float(first.slice(1)), true] : [float(first), false];
  const [high, highOpen] = last.startsWith("(") ? [float(last.slice(1)), true] : [float(last), false];
  return (score) => (lowOpen ? score > low : score >= low) && (highOpen ? score < high : score <= high);
}

function has(args: readonly string[], word: string): boolean {
  return args.some((each) => each.toUpperCase() === word);
}

const hset: Command = (keys, args) => {
  const { fields } = keys.write(arg(args, 0), "hash");
  let added = 0;
  for (const [field, value] of pairs(args, 1)) {
    if (!fields.has(field)) added += 1;
    fields.set(field, value);
  }
  return added;
};

const del: Command = (keys, args) => args.filter((key) => keys.delete(key)).length;

function inScores(keys: Keyspace, args: readonly string[], isReversed: boolean): string[] {
  const [low, high] = isReversed ? [arg(args, 2), arg(args, 1)] : [arg(args, 1), arg(args, 2)];
  const within = bounds(low, high);
  const limit = args.findIndex((each) => each.toUpperCase() === "LIMIT");
  let found = ordered(keys, arg(args, 0)).filter(([, score]) => within(score));
  if (isReversed) found = found.reverse();
  if (limit > 0) {
    const [from, count] = [integer(arg(args, limit + 1)), integer(arg(args, limit + 2))];
    found = count < 0 ? found.slice(from) : found.slice(from, from + count);
  }
  return withScores(found, has(args, "WITHSCORES"));
}

function removeMembers(keys: Keyspace, key: string, members: readonly string[]): number {
  if (keys.read(key, "zset") === undefined) return 0;
  const { scores } = keys.write(key, "zset");
  const removed = members.filter((member) => scores.delete(member)).length;
  keys.settle(key);
  return removed;
}

/** The commands that drover's and BullMQ's scripts and clients use; anything else is refused. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  PING: () => new Status("PONG"),
  CLIENT: () => OK,
  TIME: (keys) => [String(Math.floor(keys.nowMs / 1000)), String(Math.floor((keys.nowMs % 1000) * 1000))],
  KEYS: (keys, args) => {
    const prefix = arg(args, 0).replaceAll("\\", "").replace(/\*$/, "");
    return keys.keys().filter((key) => key.startsWith(prefix));
  },
  TYPE: (keys, args) => new Status(keys.kindOf(arg(args, 0)) ?? "none"),
  EXISTS: (keys, args) => args.filter((key) => keys.exists(key)).length,
  DEL: del,
  UNLINK: del,
  PEXPIRE: (keys, args) => Number(keys.expire(arg(args, 0), keys.nowMs + integer(arg(args, 1)))),
  PERSIST: (keys, args) => {
    const had = keys.expiresAt(arg(args, 0)) !== undefined;
    if (had) keys.expire(arg(args, 0), undefined);
    return Number(had);
  },
  PTTL: (keys, args) => {
    if (!keys.exists(arg(args, 0))) return -2;
    const at = keys.expiresAt(arg(args, 0));
    return at === undefined ? -1 : Math.ceil(at - keys.nowMs);
  },

  GET: (keys, args) => keys.read(arg(args, 0), "string")?.text ?? null,
  MGET: (keys, args) =>
    args.map((key) => (keys.kindOf(key) === "string" ? (keys.read(key, "string")?.text ?? null) : null)),
  SET: (keys, args) => {
    const [key, value] = [arg(args, 0), arg(args, 1)];
    const px = args.findIndex((each, at) => at > 1 && each.toUpperCase() === "PX");
    if (has(args.slice(2), "NX") && keys.exists(key)) return null;
    keys.delete(key);
    keys.write(key, "string").text = value;
    if (px > 0) keys.expire(key, keys.nowMs + integer(arg(args, px + 1)));
    return OK;
  },
  GETRANGE: (keys, args) => {
    const text = keys.read(arg(args, 0), "string")?.text ?? "";
    return slice([...text], arg(args, 1), arg(args, 2)).join("");
  },
  SETRANGE: (keys, args) => {
    const [from, piece] = [integer(arg(args, 1)), arg(args, 2)];
    const value = keys.write(arg(args, 0), "string");
    value.text = value.text.padEnd(from, "\0").slice(0, from) + piece + value.text.slice(from + piece.length);
    return value.text.length;
  },
  RENAME: (keys, args) => {
    if (!keys.exists(arg(args, 0))) throw new ReplyError("ERR no such key");
    keys.rename(arg(args, 0), arg(args, 1));
    return OK;
  },
  INCR: (keys, args) => {
    const value = keys.write(arg(args, 0), "string");
    value.text = String((value.text === "" ? 0 : integer(value.text)) + 1);
    return Number(value.text);
  },

  HSET: hset,
  HMSET: (keys, args) => {
    hset(keys, args);
    return OK;
  },
  HGET: (keys, args) => keys.read(arg(args, 0), "hash")?.fields.get(arg(args, 1)) ?? null,
  HMGET: (keys, args) => {
    const fields = keys.read(arg(args, 0), "hash")?.fields;
    return args.slice(1).map((field) => fields?.get(field) ?? null);
  },
  HGETALL: (keys, args) => [...(keys.read(arg(args, 0), "hash")?.fields ?? [])].flat(),
  HKEYS: (keys, args) => [...(keys.read(arg(args, 0), "hash")?.fields.keys() ?? [])],
  HEXISTS: (keys, args) => Number(keys.read(arg(args, 0), "hash")?.fields.has(arg(args, 1)) === true),
  HLEN: (keys, args) => keys.read(arg(args, 0), "hash")?.fields.size ?? 0,
  HSETNX: (keys, args) => (keys.read(arg(args, 0), "hash")?.fields.has(arg(args, 1)) === true ? 0 : hset(keys, args)),
  HDEL: (keys, args) => {
    const key = arg(args, 0);
    if (keys.read(key, "hash") === undefined) return 0;
    const { fields } = keys.write(key, "hash");
    const removed = args.slice(1).filter((field) => fields.delete(field)).length;
    keys.settle(key);
    return removed;
  },
  HINCRBY: (keys, args) => {
    const { fields } = keys.write(arg(args, 0), "hash");
    const value = integer(fields.get(arg(args, 1)) ?? "0") + integer(arg(args, 2));
    fields.set(arg(args, 1), String(value));
    return value;
  },

  LLEN: (keys, args) => keys.read(arg(args, 0), "list")?.items.length ?? 0,
  LRANGE: (keys, args) => [...slice(keys.read(arg(args, 0), "list")?.items ?? [], arg(args, 1), arg(args, 2))],
  LPOS: (keys, args) => {
    const at = keys.read(arg(args, 0), "list")?.items.indexOf(arg(args, 1)) ?? -1;
    return at < 0 ? null : at;
  },
  LPUSH: (keys, args) => keys.write(arg(args, 0), "list").items.unshift(...args.slice(1).reverse()),
  RPUSH: (keys, args) => keys.write(arg(args, 0), "list").items.push(...args.slice(1)),
  LREM: (keys, args) => {
    const [key, count, wanted] = [arg(args, 0), integer(arg(args, 1)), arg(args, 2)];
    if (keys.read(key, "list") === undefined) return 0;
    const list = keys.write(key, "list");
    let removed = 0;
    const keep = (item: string) => {
      if (item !== wanted || (count !== 0 && removed >= Math.abs(count))) return true;
      removed += 1;
      return false;
    };
    list.items = count < 0 ? list.items.reverse().filter(keep).reverse() : list.items.filter(keep);
    keys.settle(key);
    return removed;
  },
  LTRIM: (keys, args) => {
    const key = arg(args, 0);
    if (keys.read(key, "list") === undefined) return OK;
    const list = keys.write(key, "list");
    list.items = [...slice(list.items, arg(args, 1), arg(args, 2))];
    keys.settle(key);
    return OK;
  },
  RPOPLPUSH: (keys, args) => {
    const [from, to] = [arg(args, 0), arg(args, 1)];
    if (keys.read(from, "list") === undefined) return null;
    const item = keys.write(from, "list").items.pop() ?? null;
    keys.settle(from);
    if (item !== null) keys.write(to, "list").items.unshift(item);
    return item;
  },

  SADD: (keys, args) => {
    const { members } = keys.write(arg(args, 0), "set");
    const before = members.size;
    for (const member of args.slice(1)) members.add(member);
    return members.size - before;
  },
  SREM: (keys, args) => {
    const key = arg(args, 0);
    if (keys.read(key, "set") === undefined) return 0;
    const { members } = keys.write(key, "set");
    const removed = args.slice(1).filter((member) => members.delete(member)).length;
    keys.settle(key);
    return removed;
  },
  SMEMBERS: (keys, args) => [...(keys.read(arg(args, 0), "set")?.members ?? [])].sort(),
  SCARD: (keys, args) => keys.read(arg(args, 0), "set")?.members.size ?? 0,
  SISMEMBER: (keys, args) => Number(keys.read(arg(args, 0), "set")?.members.has(arg(args, 1)) === true),

  ZADD: (keys, args) => {
    const only = arg(args, 1).toUpperCase();
    const isFlag = only === "XX" || only === "NX";
    const { scores } = keys.write(arg(args, 0), "zset");
    let added = 0;
    for (const [score, member] of pairs(args, isFlag ? 2 : 1)) {
      const isKnown = scores.has(member);
      if ((only === "XX" && !isKnown) || (only === "NX" && isKnown)) continue;
      if (!isKnown) added += 1;
      scores.set(member, float(score));
    }
    keys.settle(arg(args, 0));
    return added;
  },
  ZREM: (keys, args) => removeMembers(keys, arg(args, 0), args.slice(1)),
  ZSCORE: (keys, args) => {
    const score = keys.read(arg(args, 0), "zset")?.scores.get(arg(args, 1));
    return score === undefined ? null : scoreText(score);
  },
  ZCARD: (keys, args) => keys.read(arg(args, 0), "zset")?.scores.size ?? 0,
  ZCOUNT: (keys, args) => {
    const within = bounds(arg(args, 1), arg(args, 2));
    return ordered(keys, arg(args, 0)).filter(([, score]) => within(score)).length;
  },
  ZRANGE: (keys, args) =>
    withScores(slice(ordered(keys, arg(args, 0)), arg(args, 1), arg(args, 2)), has(args, "WITHSCORES")),
  ZREVRANGE: (keys, args) =>
    withScores(slice([...ordered(keys, arg(args, 0))].reverse(), arg(args, 1), arg(args, 2)), has(args, "WITHSCORES")),
  ZRANGEBYSCORE: (keys, args) => inScores(keys, args, false),
  ZREVRANGEBYSCORE: (keys, args) => inScores(keys, args, true),
  ZREMRANGEBYSCORE: (keys, args) => removeMembers(keys, arg(args, 0), inScores(keys, args.slice(0, 3), false)),
  ZPOPMIN: (keys, args) => {
    const first = ordered(keys, arg(args, 0)).slice(0, 1);
    removeMembers(
      keys,
      arg(args, 0),
      first.map(([member]) => member),
    );
    return withScores(first, true);
  },

  XADD: (keys, args) => {
    const { stream } = keys.write(arg(args, 0), "stream");
    const id = args.indexOf("*");
    const nowMs = Math.floor(keys.nowMs);
    if (nowMs > stream.lastMs) {
      stream.lastMs = nowMs;
      stream.lastSeq = 0;
    } else stream.lastSeq += 1;
    const entry = { id: `${stream.lastMs}-${stream.lastSeq}`, fields: args.slice(id + 1) };
    stream.entries.push(entry);
    return entry.id;
  },
  XRANGE: (keys, args) =>
    (keys.read(arg(args, 0), "stream")?.stream.entries ?? []).map(({ id, fields }) => [id, fields]),
  XTRIM: () => 0,
};
