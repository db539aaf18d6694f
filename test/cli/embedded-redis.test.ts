import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { Redis } from "ioredis";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EmbeddedRedis } from "../../src/runtime/embedded-redis.ts";
import { redisPaths } from "../../src/runtime/embedded-redis-files.ts";
import { identifyProcess, isSameProcess } from "../../src/runtime/lasting-identity.ts";
import { createLogger } from "../../src/runtime/logger.ts";
import { waitFor } from "../helpers/wait-for.ts";

const logger = createLogger({ level: "error", name: "test", destination: { write: () => undefined } });
const ownerPid = process.pid;
const driver = fileURLToPath(new URL("./embedded-redis-driver.ts", import.meta.url));
let stateDir = "";

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "drover-er-"));
});

afterEach(async () => {
  await rm(stateDir, { recursive: true, force: true });
});

async function ask<T>(url: string, question: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { maxRetriesPerRequest: 1, retryStrategy: () => null });
  redis.on("error", () => undefined);
  try {
    return await question(redis);
  } finally {
    redis.disconnect();
  }
}

test("data survive a stop and a start, under the same URL", async () => {
  let url = "";
  {
    await using first = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
    url = first.url;
    await ask(url, (redis) => redis.set("kept", "yes"));
  }
  await using second = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
  expect(second.url).toBe(url);
  expect(await ask(second.url, (redis) => redis.get("kept"))).toBe("yes");
});

test("its settings are those that a queue needs", async () => {
  await using server = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
  const settings = await ask(server.url, (redis) => redis.config("GET", "a*"));
  expect(settings).toEqual(expect.arrayContaining(["appendonly", "yes", "appendfsync", "everysec"]));
  expect(await ask(server.url, (redis) => redis.config("GET", "maxmemory-policy"))).toContain("noeviction");
  expect(await ask(server.url, (redis) => redis.config("GET", "bind"))).toContain("127.0.0.1");
});

test("other users of the machine can read nothing of it", async () => {
  await using server = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
  expect((await stat(server.paths.dir)).mode & 0o777).toBe(0o700);
  for (const file of [server.paths.config, server.paths.password, server.paths.url, server.paths.process]) {
    expect((await stat(file)).mode & 0o777, file).toBe(0o600);
  }
  const noPassword = server.url.replace(/:[^@/]*@/, "");
  await expect(ask(noPassword, (redis) => redis.ping())).rejects.toThrow(/NOAUTH|WRONGPASS|Connection is closed/);
  const password = (await readFile(server.paths.password, "utf8")).trim();
  const commandLine = await readFile(`/proc/${server.pid}/cmdline`, "utf8");
  expect(commandLine).not.toContain(password);
  expect(server.shownUrl).not.toContain(password);
});

test("close leaves no process and is not minded twice", async () => {
  const server = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
  const identity = identifyProcess(server.pid);
  await Promise.all([server.close(), server.close()]);
  expect(identity && isSameProcess(identity)).toBe(false);
});

test("a second start with the same directory is refused and leaves the first alone", async () => {
  await using first = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
  await expect(EmbeddedRedis.start({ stateDir, logger, ownerPid })).rejects.toThrow(/runs with the state directory/);
  expect(await ask(first.url, (redis) => redis.ping())).toBe("PONG");
});

test("a missing redis-server gives the line that installs it", async () => {
  await expect(EmbeddedRedis.start({ stateDir, logger, ownerPid, binPath: "/nowhere/redis-server" })).rejects.toThrow(
    /apt-get install -y redis-server/,
  );
});

test("a server that falls is started again with its data, and its clients find it where it was", async () => {
  await using server = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
  await ask(server.url, async (redis) => {
    await redis.set("kept", "yes");
    await redis.config("SET", "appendfsync", "always");
    await redis.set("kept", "still");
  });
  const fallen = server.pid;
  process.kill(fallen, "SIGKILL");
  await waitFor(() => server.pid !== fallen, { what: "another server" });
  expect(await ask(server.url, (redis) => redis.get("kept"))).toBe("still");
});

test("a port that somebody took meanwhile is left to him", async () => {
  const first = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
  const port = Number(new URL(first.url).port);
  await first.close();
  const stranger = createServer().listen(port, "127.0.0.1");
  await using second = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
  expect(Number(new URL(second.url).port)).not.toBe(port);
  expect(await ask(second.url, (redis) => redis.ping())).toBe("PONG");
  stranger.close();
});

test("when its owner is killed it ends by itself, its data safe", async () => {
  const owner = execa("node", ["--import", "tsx", driver, stateDir], { reject: false });
  const note = await waitFor(async () => JSON.parse(await readFile(join(stateDir, "note"), "utf8")), {
    timeoutMs: 20_000,
  });
  await ask(note.url, (redis) => redis.set("kept", "yes"));
  owner.kill("SIGKILL");
  await owner;
  await waitFor(async () => !isSameProcess(note.server), { what: "the server's end" });
  await using next = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
  expect(await ask(next.url, (redis) => redis.get("kept"))).toBe("yes");
});

test("a server that outlived its owner is ended by the next start, which takes over its data", async () => {
  const owner = execa("node", ["--import", "tsx", driver, stateDir], { reject: false });
  const note = await waitFor(async () => JSON.parse(await readFile(join(stateDir, "note"), "utf8")), {
    timeoutMs: 20_000,
  });
  await ask(note.url, (redis) => redis.set("kept", "yes"));
  owner.kill("SIGSTOP"); // it can do nothing about what follows
  // As it would stand there if the owner had been another process that is dead now.
  const { process: noteFile } = redisPaths(stateDir);
  const running = JSON.parse(await readFile(noteFile, "utf8"));
  await writeFile(noteFile, JSON.stringify({ ...running, owner: { ...running.owner, startTimeTicks: 1 } }));
  try {
    await using next = await EmbeddedRedis.start({ stateDir, logger, ownerPid });
    expect(isSameProcess(note.server)).toBe(false);
    expect(await ask(next.url, (redis) => redis.get("kept"))).toBe("yes");
  } finally {
    owner.kill("SIGKILL");
    await owner;
  }
});
