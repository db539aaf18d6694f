import fc from "fast-check";
import { HOST_WISHES, type HostWishKind } from "../../src/contract/host-wish.ts";

/**
 * One thing that somebody does or that happens, and how long nothing else is done after it. `steps`: it happens when the
 * host's worker has done so many things more, so that every place in the code is hit, and not only the slow ones.
 */
export type Command = { readonly gapMs: number } & (
  | { readonly do: "submit"; readonly vm: number; readonly ttlMs: number; readonly attempts: number }
  | { readonly do: "remove"; readonly vm: number; readonly force: boolean }
  | {
      readonly do: "batch";
      readonly batch: number;
      readonly items: number;
      readonly maxParallel: number;
      readonly stopAfter: number;
    }
  | { readonly do: "cancelBatch" | "retryFailed"; readonly batch: number }
  | { readonly do: "retry" | "powerOff" | "kill" | "hang"; readonly vm: number }
  | { readonly do: "crash" | "stop" | "reboot"; readonly host: number; readonly steps: number }
  | { readonly do: "start" | "heal"; readonly host: number }
  | { readonly do: "cut"; readonly host: number; readonly silent: boolean; readonly steps: number }
  | { readonly do: "redisDown"; readonly host: number; readonly steps: number }
  | { readonly do: "redisUp" | "flush" | "apiCrash" | "advance" }
  | { readonly do: "redisLose"; readonly count: number }
  | { readonly do: "bind"; readonly host: number; readonly port: number }
  | { readonly do: "diskFull"; readonly host: number; readonly on: boolean }
  | { readonly do: "slots"; readonly host: number; readonly count: number }
  | { readonly do: "clock"; readonly host: number; readonly ms: number }
  | { readonly do: "wish"; readonly host: number; readonly kind: HostWishKind }
);

/** A test of the whole: what the fleet is like, what happens to it, and the seed of all chance in it. */
export interface History {
  readonly chance: number;
  readonly lost: "rerun" | "hold";
  readonly onPartition: "keep" | "stop";
  readonly commands: readonly Command[];
}

export const HOSTS = 2;
const VMS = 6;
export const FIRST_PORT = 6100;
export const PORTS = 4;

type Plot = fc.Arbitrary<readonly Command[]>;

const vm = fc.nat(VMS - 1);
const host = fc.nat(HOSTS - 1);
/** Most of a launch or an end; 0 is now. */
const steps = fc.oneof(fc.constant(0), fc.nat(60));
/** Within a launch, or a little longer. */
const shortMs = fc.oneof(
  { weight: 3, arbitrary: fc.nat(60) },
  { weight: 2, arbitrary: fc.integer({ min: 60, max: 900 }) },
  { weight: 1, arbitrary: fc.integer({ min: 900, max: 6_000 }) },
);
/** Time for the worker to hear it, to look for other hosts and to stop its VMs; or not quite. */
const evacuationMs = fc.integer({ min: 0, max: 6_000 });
/** Longer than a lease (3 s) and the patience with a lost host (8 s), or not quite. */
const longMs = fc.integer({ min: 9_000, max: 14_000 });

function command(
  name: Command["do"],
  fields: Readonly<Record<string, fc.Arbitrary<unknown>>>,
  gapMs: fc.Arbitrary<number> = shortMs,
): fc.Arbitrary<Command> {
  return fc.record({ do: fc.constant(name), ...fields, gapMs }) as unknown as fc.Arbitrary<Command>;
}

function plot(...each: readonly fc.Arbitrary<Command>[]): Plot {
  return fc.tuple(...each);
}

/** What happens to one host, one after the other. */
function onHost(make: (host: fc.Arbitrary<number>) => readonly fc.Arbitrary<Command>[]): Plot {
  return host.chain((at) => fc.tuple(...make(fc.constant(at))));
}

const rarely = <T>(arbitrary: fc.Arbitrary<T>, usually: T): fc.Arbitrary<T> =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(usually) }, { weight: 1, arbitrary });

const submit = command("submit", {
  vm,
  ttlMs: rarely(fc.integer({ min: 1, max: 8_000 }), 0),
  attempts: fc.integer({ min: 1, max: 3 }),
});
const silent = fc.boolean();
const batch = fc.nat(1);
const submitBatch = command("batch", {
  batch,
  items: fc.integer({ min: 1, max: 4 }),
  maxParallel: fc.integer({ min: 1, max: 3 }),
  stopAfter: fc.nat(2),
});

const plots: Plot = fc.oneof(
  { weight: 8, arbitrary: plot(submit) },
  { weight: 1, arbitrary: plot(submitBatch) },
  { weight: 1, arbitrary: plot(submitBatch, command("cancelBatch", { batch })) },
  { weight: 1, arbitrary: plot(submitBatch, command("retryFailed", { batch })) },
  { weight: 4, arbitrary: plot(command("remove", { vm, force: fc.boolean() })) },
  { weight: 1, arbitrary: plot(submit, command("remove", { vm, force: fc.boolean() })) },
  { weight: 1, arbitrary: plot(command("retry", { vm })) },
  { weight: 2, arbitrary: plot(command("powerOff", { vm })) },
  { weight: 1, arbitrary: plot(command("kill", { vm })) },
  { weight: 1, arbitrary: plot(command("hang", { vm })) },
  { weight: 6, arbitrary: onHost((at) => [command("crash", { host: at, steps }), command("start", { host: at })]) },
  { weight: 3, arbitrary: onHost((at) => [command("stop", { host: at, steps }), command("start", { host: at })]) },
  { weight: 1, arbitrary: plot(command("reboot", { host, steps })) },
  {
    weight: 3,
    arbitrary: onHost((at) => [command("cut", { host: at, silent, steps }), command("heal", { host: at })]),
  },
  { weight: 2, arbitrary: plot(command("redisDown", { host, steps }), command("redisUp", {})) },
  {
    weight: 3,
    arbitrary: onHost((at) => [command("crash", { host: at, steps }, longMs), command("start", { host: at })]),
  },
  {
    weight: 3,
    arbitrary: onHost((at) => [command("cut", { host: at, silent, steps }, longMs), command("heal", { host: at })]),
  },
  {
    weight: 1,
    arbitrary: onHost((at) => [command("stop", { host: at, steps }, longMs), command("start", { host: at })]),
  },
  { weight: 1, arbitrary: plot(command("apiCrash", {})) },
  { weight: 1, arbitrary: plot(command("bind", { host, port: fc.nat(PORTS - 1) })) },
  { weight: 1, arbitrary: plot(command("diskFull", { host, on: fc.boolean() })) },
  { weight: 1, arbitrary: plot(command("slots", { host, count: fc.integer({ min: 1, max: 3 }) })) },
  {
    weight: 1,
    arbitrary: plot(command("clock", { host, ms: fc.constantFrom(-3_600_000, -2_000, 2_000, 3_600_000) })),
  },
  {
    weight: 4,
    arbitrary: onHost((at) => [
      command("wish", { host: at, kind: fc.constantFrom("evacuating", "cordoned") }, evacuationMs),
      command("wish", { host: at, kind: fc.constantFrom(...HOST_WISHES) }),
    ]),
  },
  { weight: 1, arbitrary: plot(command("advance", {})) },
);

/** Redis with less than it had: what it promises is less then. */
const losses: Plot = fc.oneof(
  { weight: 3, arbitrary: plot(command("redisLose", { count: fc.integer({ min: 1, max: 40 }) })) },
  { weight: 1, arbitrary: plot(command("flush", {})) },
);

const commands = (each: Plot) =>
  fc
    .tuple(fc.array(submit, { minLength: 1, maxLength: 3, size: "max" }), fc.array(each, { maxLength: 5, size: "max" }))
    .map(([first, rest]) => [...first, ...rest.flat()]);

export const histories: fc.Arbitrary<History> = fc.record({
  chance: fc.noShrink(fc.nat(0x7fffffff)), // another one would be another story
  lost: fc.constantFrom("rerun" as const, "hold" as const),
  onPartition: fc.constantFrom("keep" as const, "stop" as const),
  commands: fc.oneof(
    { weight: 4, arbitrary: commands(plots) },
    { weight: 1, arbitrary: commands(fc.oneof({ weight: 5, arbitrary: plots }, { weight: 1, arbitrary: losses })) },
  ),
});
