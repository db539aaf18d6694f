import fc from "fast-check";

/** One thing that somebody does or that happens, and how long nothing else is done after it. */
export type Command = { readonly gapMs: number } & (
  | { readonly do: "submit"; readonly vm: number; readonly ttlMs: number; readonly attempts: number }
  | { readonly do: "remove"; readonly vm: number; readonly force: boolean }
  | { readonly do: "retry" | "powerOff" | "kill" | "hang"; readonly vm: number }
  | { readonly do: "crash" | "stop" | "start" | "reboot" | "heal"; readonly host: number }
  | { readonly do: "cut"; readonly host: number; readonly silent: boolean }
  | { readonly do: "redisDown" | "redisUp" | "flush" | "apiCrash" | "advance" }
  | { readonly do: "redisLose"; readonly count: number }
  | { readonly do: "bind"; readonly host: number; readonly port: number }
  | { readonly do: "diskFull"; readonly host: number; readonly on: boolean }
  | { readonly do: "slots"; readonly host: number; readonly count: number }
  | { readonly do: "clock"; readonly host: number; readonly ms: number }
);

/** A test of the whole: what the fleet is like, what happens to it, and the seed of all chance in it. */
export interface History {
  readonly chance: number;
  readonly lost: "rerun" | "hold";
  readonly onPartition: "keep" | "stop";
  readonly commands: readonly Command[];
}

export const HOSTS = 2;
export const VMS = 6;
export const FIRST_PORT = 6100;
export const PORTS = 4;

const vm = fc.nat(VMS - 1);
const host = fc.nat(HOSTS - 1);
/** Mostly within a launch, at times longer than a lease, now and then longer than the patience with a lost host. */
const gapMs = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 0, max: 60 }) },
  { weight: 3, arbitrary: fc.integer({ min: 60, max: 900 }) },
  { weight: 2, arbitrary: fc.integer({ min: 900, max: 6_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 6_000, max: 16_000 }) },
);

function command<T extends Record<string, fc.Arbitrary<unknown>>>(name: string, fields: T): fc.Arbitrary<Command> {
  return fc.record({ do: fc.constant(name), ...fields, gapMs }) as unknown as fc.Arbitrary<Command>;
}

const submit = command("submit", {
  vm,
  ttlMs: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 8_000 }) }),
  attempts: fc.integer({ min: 1, max: 3 }),
});

const usual: fc.Arbitrary<Command> = fc.oneof(
  { weight: 6, arbitrary: submit },
  { weight: 4, arbitrary: command("remove", { vm, force: fc.boolean() }) },
  { weight: 1, arbitrary: command("retry", { vm }) },
  { weight: 2, arbitrary: command("powerOff", { vm }) },
  { weight: 1, arbitrary: command("kill", { vm }) },
  { weight: 1, arbitrary: command("hang", { vm }) },
  { weight: 4, arbitrary: command("crash", { host }) },
  { weight: 2, arbitrary: command("stop", { host }) },
  { weight: 5, arbitrary: command("start", { host }) },
  { weight: 2, arbitrary: command("cut", { host, silent: fc.boolean() }) },
  { weight: 3, arbitrary: command("heal", { host }) },
  { weight: 2, arbitrary: command("redisDown", {}) },
  { weight: 3, arbitrary: command("redisUp", {}) },
  { weight: 1, arbitrary: command("apiCrash", {}) },
  { weight: 1, arbitrary: command("bind", { host, port: fc.nat(PORTS - 1) }) },
  { weight: 1, arbitrary: command("diskFull", { host, on: fc.boolean() }) },
  { weight: 1, arbitrary: command("slots", { host, count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: command("reboot", { host }) },
  { weight: 1, arbitrary: command("clock", { host, ms: fc.constantFrom(-3_600_000, -2_000, 2_000, 3_600_000) }) },
  { weight: 2, arbitrary: command("advance", {}) },
);

/** Redis with less than it had: what it promises is less then. */
const losses: fc.Arbitrary<Command> = fc.oneof(
  { weight: 3, arbitrary: command("redisLose", { count: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 1, arbitrary: command("flush", {}) },
);

const commands = (each: fc.Arbitrary<Command>) =>
  fc.tuple(submit, fc.array(each, { maxLength: 14, size: "max" })).map(([first, rest]) => [first, ...rest]);

export const histories: fc.Arbitrary<History> = fc.record({
  chance: fc.noShrink(fc.nat(0x7fffffff)), // another one would be another story
  lost: fc.constantFrom("rerun" as const, "hold" as const),
  onPartition: fc.constantFrom("keep" as const, "stop" as const),
  commands: fc.oneof(
    { weight: 4, arbitrary: commands(usual) },
    { weight: 1, arbitrary: commands(fc.oneof({ weight: 6, arbitrary: usual }, { weight: 1, arbitrary: losses })) },
  ),
});
