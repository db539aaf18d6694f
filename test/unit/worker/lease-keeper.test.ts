import { pino } from "pino";
import { expect, test } from "vitest";
import type { HostDescription } from "../../../src/queue/host-description.ts";
import type { TakeOutcome } from "../../../src/queue/host-registry.ts";
import { LeaseKeeper } from "../../../src/worker/lease-keeper.ts";
import { FakeClock } from "../../helpers/fake-clock.ts";
import { hostDescription } from "../../helpers/host-descriptions.ts";

const TTL_MS = 30_000;
const RENEW_MS = 5_000;

/** A registry that answers as it is told and keeps what it was asked. */
class FakeHosts {
  readonly calls: string[] = [];
  readonly published: HostDescription[] = [];
  answer: () => Promise<TakeOutcome> = () => Promise.resolve({ kind: "taken" });

  take(host: HostDescription): Promise<TakeOutcome> {
    return this.#call("take", host);
  }
  renew(host: HostDescription): Promise<TakeOutcome> {
    return this.#call("renew", host);
  }
  async withdraw(): Promise<boolean> {
    return (await this.#call("withdraw")).kind === "taken";
  }
  async goAway(_host: HostDescription, awayMs: number): Promise<boolean> {
    return (await this.#call(`away ${awayMs}`)).kind === "taken";
  }
  #call(what: string, host?: HostDescription): Promise<TakeOutcome> {
    this.calls.push(what);
    if (host !== undefined) this.published.push(host);
    return this.answer();
  }
}

async function openKeeper() {
  const clock = new FakeClock();
  const hosts = new FakeHosts();
  const lines: string[] = [];
  const logger = pino({ level: "trace" }, { write: (line) => void lines.push(JSON.parse(line).msg) });
  const keeper = await LeaseKeeper.take({
    hosts,
    description: hostDescription(),
    ttlMs: TTL_MS,
    renewMs: RENEW_MS,
    clock,
    logger,
  });
  /** Lets a turn of the keeper's loop happen. */
  const pass = async (ms: number) => {
    clock.advance(ms);
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  };
  return { clock, hosts, keeper, lines, pass };
}

const held = (leftMs: number, stateId = "other"): TakeOutcome => ({
  kind: "held",
  by: { stateId, bootId: "boot" },
  leftMs,
});

test("the lease is renewed in its rhythm and relied on for five sixths of its time", async () => {
  const { clock, hosts, keeper, pass } = await openKeeper();
  let renewed = 0;
  keeper.start({ isTurning: () => true, onRenewed: () => renewed++ });
  await pass(RENEW_MS);
  await pass(RENEW_MS);
  expect([hosts.calls, renewed]).toEqual([["take", "renew", "renew"], 2]);
  hosts.answer = () => new Promise(() => undefined); // Redis is away
  await pass(RENEW_MS);
  clock.advance(TTL_MS - TTL_MS / 6 - RENEW_MS - 1);
  expect(keeper.isSurelyValid()).toBe(true);
  clock.advance(1);
  expect(keeper.isSurelyValid()).toBe(false);
});

test("a renewal counts from when it was sent, and one that came late is followed by the next at once", async () => {
  const { clock, hosts, keeper, pass } = await openKeeper();
  keeper.start({ isTurning: () => true });
  let answerNow: () => void = () => undefined;
  hosts.answer = () => new Promise((resolve) => (answerNow = () => resolve({ kind: "taken" })));
  await pass(RENEW_MS);
  clock.advance(TTL_MS);
  answerNow();
  await pass(0);
  expect(keeper.isSurelyValid(), "it may have lapsed by now").toBe(false);
  expect(hosts.calls.filter((call) => call === "renew")).toHaveLength(2);
  answerNow();
  await pass(0);
  expect(keeper.isSurelyValid()).toBe(true);
  await keeper.stop();
});

test("while the worker's loop does not turn nothing is renewed, and it is said once", async () => {
  const { hosts, keeper, lines, pass } = await openKeeper();
  let turning = false;
  keeper.start({ isTurning: () => turning });
  for (let i = 0; i < 4; i++) await pass(RENEW_MS);
  expect(hosts.calls).toEqual(["take"]);
  expect(lines.filter((line) => line.includes("is not renewed"))).toHaveLength(1);
  turning = true;
  await pass(RENEW_MS);
  expect(hosts.calls).toEqual(["take", "renew"]);
  await keeper.stop();
});

test("a lease that another has taken is not relied on, is said once, and is tried for on", async () => {
  const { hosts, keeper, lines, pass } = await openKeeper();
  keeper.start({ isTurning: () => true });
  hosts.answer = () => Promise.resolve(held(TTL_MS));
  await pass(RENEW_MS);
  await pass(RENEW_MS);
  expect(keeper.isSurelyValid()).toBe(false);
  expect(lines.filter((line) => line.includes("another worker has taken"))).toHaveLength(1);
  hosts.answer = () => Promise.resolve({ kind: "taken" });
  await pass(RENEW_MS);
  expect(keeper.isSurelyValid()).toBe(true);
  await keeper.stop();
});

test("neither a failing renewal nor a failing listener ends the loop", async () => {
  const { hosts, keeper, pass } = await openKeeper();
  keeper.start({
    isTurning: () => true,
    onRenewed: () => {
      throw new Error("listener");
    },
  });
  hosts.answer = () => Promise.reject(new Error("READONLY"));
  await pass(RENEW_MS);
  hosts.answer = () => Promise.resolve({ kind: "taken" });
  await pass(RENEW_MS);
  await pass(RENEW_MS);
  expect(hosts.calls).toEqual(["take", "renew", "renew", "renew"]);
  await keeper.stop();
});

test("a change of the description is published at once", async () => {
  const { hosts, keeper, pass } = await openKeeper();
  keeper.start({ isTurning: () => true });
  await pass(1);
  keeper.describe({ breaker: { openUntilMs: 5, failures: 3, cause: null } });
  await pass(1);
  expect(hosts.published.at(-1)?.breaker).toMatchObject({ failures: 3 });
  expect(hosts.calls).toEqual(["take", "renew"]);
  await keeper.stop();
});

test("leaving is one call, and a Redis that is away holds nobody up for more than two seconds", async () => {
  const { hosts, keeper } = await openKeeper();
  keeper.start({ isTurning: () => true });
  hosts.answer = () => new Promise(() => undefined);
  const began = performance.now();
  expect(await keeper.leave(60_000)).toBe(false);
  expect(performance.now() - began).toBeLessThan(4_000);
  expect(hosts.calls).toEqual(["take", "away 60000"]);
});

test("a lease that is renewed in the rhythm of the looks is not mistaken for one that lapses", async () => {
  const clock = new FakeClock();
  const hosts = new FakeHosts();
  hosts.answer = () => Promise.resolve(held(2_900));
  const options = { hosts, description: hostDescription(), ttlMs: 3_000, renewMs: 1_000, clock };
  const taken = LeaseKeeper.take({ ...options, logger: pino({ level: "silent" }) });
  const refused = expect(taken).rejects.toMatchObject({ code: "config_invalid" });
  await Promise.resolve();
  await Promise.resolve();
  clock.advance(1_000);
  await refused;
});

test("waiting for a lease ends with the signal's reason", async () => {
  const clock = new FakeClock();
  const hosts = new FakeHosts();
  hosts.answer = () => Promise.resolve(held(20_000));
  const stop = new AbortController();
  const options = { hosts, description: hostDescription(), ttlMs: TTL_MS, renewMs: RENEW_MS, clock };
  const taken = LeaseKeeper.take({ ...options, logger: pino({ level: "silent" }), signal: stop.signal });
  const ended = expect(taken).rejects.toThrow("enough");
  await Promise.resolve();
  stop.abort(new Error("enough"));
  await ended;
});
