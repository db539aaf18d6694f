/** A reply as the wire carries it. */
export type Reply = string | number | null | Status | readonly Reply[];

export class Status {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** What Redis answers as an error; ioredis rejects with one of this name. */
export class ReplyError extends Error {
  override readonly name = "ReplyError";
}

interface StreamEntry {
  readonly id: string;
  readonly fields: readonly string[];
}

interface Stream {
  entries: StreamEntry[];
  lastMs: number;
  lastSeq: number;
}

type Value =
  | { readonly kind: "string"; text: string }
  | { readonly kind: "hash"; fields: Map<string, string> }
  | { readonly kind: "list"; items: string[] }
  | { readonly kind: "set"; members: Set<string> }
  | { readonly kind: "zset"; scores: Map<string, number> }
  | { readonly kind: "stream"; stream: Stream };
export type Kind = Value["kind"];
type Of<K extends Kind> = Extract<Value, { kind: K }>;

interface Entry {
  readonly value: Value;
  expiresAt: number | undefined;
}

const EMPTY: { readonly [K in Kind]: () => Of<K> } = {
  string: () => ({ kind: "string", text: "" }),
  hash: () => ({ kind: "hash", fields: new Map() }),
  list: () => ({ kind: "list", items: [] }),
  set: () => ({ kind: "set", members: new Set() }),
  zset: () => ({ kind: "zset", scores: new Map() }),
  stream: () => ({ kind: "stream", stream: { entries: [], lastMs: 0, lastSeq: -1 } }),
};

function clone({ value, expiresAt }: Entry): Entry {
  switch (value.kind) {
    case "string":
      return { value: { ...value }, expiresAt };
    case "hash":
      return { value: { ...value, fields: new Map(value.fields) }, expiresAt };
    case "list":
      return { value: { ...value, items: [...value.items] }, expiresAt };
    case "set":
      return { value: { ...value, members: new Set(value.members) }, expiresAt };
    case "zset":
      return { value: { ...value, scores: new Map(value.scores) }, expiresAt };
    case "stream":
      return { value: { ...value, stream: { ...value.stream, entries: [...value.stream.entries] } }, expiresAt };
  }
}

function isEmpty(value: Value): boolean {
  if (value.kind === "hash") return value.fields.size === 0;
  if (value.kind === "list") return value.items.length === 0;
  if (value.kind === "set") return value.members.size === 0;
  return value.kind === "zset" && value.scores.size === 0;
}

/** So many last writes can be lost at once. */
const JOURNAL_MAX = 60;

/** The keys of a Redis. What each write replaced is remembered for a while, so that the last ones can be lost. */
export class Keyspace {
  #entries = new Map<string, Entry>();
  readonly #journal: Map<string, Entry | undefined>[] = [];
  #current: Map<string, Entry | undefined> | undefined;
  readonly #nowMs: () => number;
  /** Whether writes are remembered, so that they can be lost. */
  isJournaled = true;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get nowMs(): number {
    return this.#nowMs();
  }

  /** Everything that `act` writes is one write: it is lost as a whole. */
  asOne<T>(act: () => T): T {
    if (!this.isJournaled) return act();
    this.#current = new Map();
    try {
      return act();
    } finally {
      if (this.#current.size > 0) this.#journal.push(this.#current);
      if (this.#journal.length > JOURNAL_MAX) this.#journal.shift();
      this.#current = undefined;
    }
  }

  /** Takes the last writes back, as far as they are remembered. */
  loseLast(count: number): void {
    for (let left = count; left > 0; left--) {
      for (const [key, entry] of this.#journal.pop() ?? []) {
        if (entry === undefined) this.#entries.delete(key);
        else this.#entries.set(key, entry);
      }
    }
  }

  loseAll(): void {
    this.#entries = new Map();
    this.#journal.length = 0;
  }

  /** For reading; undefined when there is no such key. */
  read<K extends Kind>(key: string, kind: K): Of<K> | undefined {
    const entry = this.#live(key);
    if (entry === undefined) return undefined;
    if (entry.value.kind !== kind)
      throw new ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value");
    return entry.value as Of<K>;
  }

  /** For writing: the key is made where it is not there. Afterwards {@link settle} it. */
  write<K extends Kind>(key: string, kind: K): Of<K> {
    const known = this.read(key, kind);
    this.#touch(key);
    if (known !== undefined) return known;
    const made: Of<K> = EMPTY[kind]();
    this.#entries.set(key, { value: made, expiresAt: undefined });
    return made;
  }

  /** A collection that has become empty is no key any more. */
  settle(key: string): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined && isEmpty(entry.value)) this.#entries.delete(key);
  }

  delete(key: string): boolean {
    if (this.#live(key) === undefined) return false;
    this.#touch(key);
    return this.#entries.delete(key);
  }

  /** With its time to live. The other key is replaced. */
  rename(from: string, to: string): void {
    const entry = this.#live(from);
    if (entry === undefined) return;
    this.#touch(from);
    this.#touch(to);
    this.#entries.delete(from);
    this.#entries.set(to, entry);
  }

  exists(key: string): boolean {
    return this.#live(key) !== undefined;
  }

  /** `atMs` undefined: never. */
  expire(key: string, atMs: number | undefined): boolean {
    const entry = this.#live(key);
    if (entry === undefined) return false;
    this.#touch(key);
    entry.expiresAt = atMs;
    return true;
  }

  expiresAt(key: string): number | undefined {
    return this.#live(key)?.expiresAt;
  }

  keys(): readonly string[] {
    return [...this.#entries.keys()].filter((key) => this.exists(key)).sort();
  }

  kindOf(key: string): Kind | undefined {
    return this.#live(key)?.value.kind;
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry?.expiresAt !== undefined && entry.expiresAt <= this.#nowMs()) {
      this.#touch(key);
      this.#entries.delete(key);
      return undefined;
    }
    return entry;
  }

  #touch(key: string): void {
    if (this.#current === undefined || this.#current.has(key)) return;
    const entry = this.#entries.get(key);
    this.#current.set(key, entry === undefined ? undefined : clone(entry));
  }
}
