import { connect, createServer } from "node:net";
import { type Logger, pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { RedisGate } from "../../../src/producer/redis-gate.ts";

const never = () => new Promise<never>(() => undefined);
const UNAVAILABLE = { code: "redis_unavailable" };
let ping = vi.fn<() => Promise<void>>();
let gate: RedisGate;

beforeEach(() => {
  ping = vi.fn(() => Promise.resolve());
  gate = new RedisGate({ ping: () => ping(), timeoutMs: 200, logger: pino({ level: "silent" }) });
});
afterEach(() => {
  gate.stop();
});

test("work passes with its value, and its own errors pass unchanged", async () => {
  expect(await gate.run(async () => 7)).toBe(7);
  const mine = new Error("mine");
  await expect(gate.run(() => Promise.reject(mine))).rejects.toBe(mine);
  expect(await gate.run(async () => 8), "the gate stays open").toBe(8);
});

test("work that Redis never answers is rejected in time, and what comes after it at once", async () => {
  ping = vi.fn(never);
  const startedMs = performance.now();
  await expect(gate.run(never)).rejects.toMatchObject(UNAVAILABLE);
  expect(performance.now() - startedMs, "bounded; bench and HTTP tests look at the promise of 250 ms").toBeLessThan(
    2_000,
  );
  const work = vi.fn(async () => 1);
  await expect(gate.run(work)).rejects.toMatchObject(UNAVAILABLE);
  expect(work, "refused work is not begun").not.toHaveBeenCalled();
});

test("slow work on a Redis that answers pings is not cut", async () => {
  const slow = gate.run(() => new Promise<string>((resolve) => setTimeout(resolve, 500, "late")));
  expect(await slow).toBe("late");
  expect(ping.mock.calls.length).toBeGreaterThan(3);
});

test.each([
  Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:6379"), { code: "ECONNREFUSED" }),
  new Error("Stream isn't writeable and enableOfflineQueue options is false"),
  new Error("Command timed out"),
  new Error("Connection is closed."),
  Object.assign(new Error("x"), { name: "MaxRetriesPerRequestError" }),
  new Error("LOADING Redis is loading the dataset in memory"),
  new Error("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
  new Error("All sentinels are unreachable. Retrying from scratch after 100ms."),
])("%s is a fault of Redis", async (fault) => {
  await expect(gate.run(() => Promise.reject(fault))).rejects.toMatchObject({ ...UNAVAILABLE, cause: fault });
});

test.each([
  "OOM command not allowed when used memory > 'maxmemory'.",
  "READONLY You can't write against a read only replica.",
  "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
  "NOREPLICAS Not enough good replicas to write.",
])("a command that a live Redis refuses gets 503 and leaves the gate open: %s", async (message) => {
  const warn = vi.fn();
  gate.stop();
  gate = new RedisGate({ ping: () => ping(), timeoutMs: 200, logger: { warn } as unknown as Logger });
  const cause = new Error(message);
  const refused = () => gate.run(() => Promise.reject(cause));
  await expect(refused()).rejects.toMatchObject({ ...UNAVAILABLE, cause });
  await expect(refused()).rejects.toThrow(/refuses this for now \((OOM|READONLY|MISCONF|NOREPLICAS)\)/);
  expect(await gate.run(async () => "served")).toBe("served");
  expect(warn, "said once, not for every request").toHaveBeenCalledTimes(1);
});

test("it opens again when a ping is answered", async () => {
  ping = vi.fn(() => Promise.reject(new Error("Connection is closed.")));
  await expect(gate.run(() => Promise.reject(new Error("Connection is closed.")))).rejects.toMatchObject(UNAVAILABLE);
  ping = vi.fn(() => Promise.resolve());
  await vi.waitFor(async () => expect(await gate.run(async () => "back")).toBe("back"), { timeout: 2_000 });
});

test("an idle gate asks nothing of Redis", async () => {
  await gate.run(async () => 1);
  await new Promise((resolve) => setTimeout(resolve, 300)); // nothing is to happen, so there is nothing to wait for
  expect(ping.mock.calls.length).toBeLessThanOrEqual(1);
});

test("a check is one ping, bounded", async () => {
  await gate.check();
  ping = vi.fn(never);
  await expect(gate.check()).rejects.toMatchObject(UNAVAILABLE);
});

test("stopping it rejects what waits", async () => {
  const waiting = gate.run(never);
  gate.stop();
  await expect(waiting).rejects.toMatchObject(UNAVAILABLE);
});

test("an answer that arrived while this process itself was busy counts", async () => {
  const server = createServer((socket) => socket.on("data", () => socket.write("+PONG")));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  // The server answers from this very process, so that the answer is in the socket before the block ends.
  const socket = connect(address.port, "127.0.0.1");
  await new Promise((resolve) => socket.once("connect", resolve));
  const gate = new RedisGate({
    ping: async () => {
      const answered = new Promise<void>((resolve) => socket.once("data", () => resolve()));
      socket.write("PING");
      setImmediate(() => {
        const untilMs = performance.now() + 300;
        while (performance.now() < untilMs);
      });
      await answered;
    },
    timeoutMs: 200,
    logger: pino({ level: "silent" }),
  });
  await gate.check();
  gate.stop();
  socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});
