import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { SealedBoxes } from "../../src/queue/sealed-boxes.ts";
import { boxKeyId, openSealed, sealSecrets } from "../../src/runtime/sealing.ts";
import { parseSecretKeys } from "../../src/runtime/secret-keys.ts";
import { openQueueWorld } from "../helpers/queue-world.ts";
import { runCli } from "../unit/cli/run-cli.ts";

const key = (id: string, fill: number) => `${id}:${Buffer.alloc(32, fill).toString("base64")}`;
const OLD = parseSecretKeys(key("old", 1), "test");
const BOTH = parseSecretKeys(`${key("new", 2)},${key("old", 1)}`, "test");
const NEW = parseSecretKeys(key("new", 2), "test");
const FOREIGN = parseSecretKeys(key("foreign", 3), "test");

async function openWorld() {
  const world = openQueueWorld();
  const submit = async (keys: typeof OLD, owner = "alice") => {
    const vmId = randomUUID();
    const sealedSecrets = sealSecrets(keys, { owner, vmId }, { agentCertsToken: `token of ${vmId}` });
    return world.submit({}, { vmId, owner, sealedSecrets });
  };
  const boxOf = async (vmId: string) => (await world.redis.get(world.keys.box(vmId))) ?? "";
  return { ...world, submit, boxOf, boxes: new SealedBoxes({ redis: world.redis, keys: world.keys }) };
}

const { signal } = new AbortController();

test("every box is sealed with the new key and opens for its own VM, without the old one", async () => {
  await using world = await openWorld();
  const vmIds = await Promise.all(Array.from({ length: 250 }, (_, i) => world.submit(i % 5 === 0 ? NEW : OLD)));
  await world.submit(FOREIGN);
  await world.submit(OLD);
  expect(await world.boxes.countByKey(signal)).toEqual(
    new Map([
      ["old", 201],
      ["new", 50],
      ["foreign", 1],
    ]),
  );
  expect(await world.boxes.reseal(BOTH, signal)).toMatchObject({
    resealed: 201,
    current: 50,
    unreadable: [{ keyId: "foreign" }],
  });
  for (const vmId of vmIds) {
    const opened = openSealed(NEW, { owner: "alice", vmId }, await world.boxOf(vmId));
    expect(opened).toEqual({ agentCertsToken: `token of ${vmId}` });
  }
  expect((await world.boxes.countByKey(signal)).get("old"), "nothing needs the old key").toBeUndefined();
  expect(await world.boxes.reseal(BOTH, signal), "a second time finds nothing to do").toMatchObject({ resealed: 0 });
});

test("a box that has gone or changed meanwhile is left as it is", async () => {
  await using world = await openWorld();
  const [removed, changed] = [await world.submit(OLD), await world.submit(OLD)];
  const other = sealSecrets(OLD, { owner: "alice", vmId: changed }, { agentCertsToken: "another" });
  // The boxes are read in one step; between that and the replacement, one goes and one changes.
  const get = world.redis.evalsha.bind(world.redis);
  world.redis.evalsha = (async (...args: Parameters<typeof get>) => {
    world.redis.evalsha = get;
    await world.store.requestRemoval({ vmId: removed, reason: "requested", by: "test" });
    await world.redis.set(world.keys.box(changed), other);
    return get(...args);
  }) as typeof get;
  expect(await world.boxes.reseal(BOTH, signal)).toMatchObject({ resealed: 0, unreadable: [] });
  expect(await world.redis.exists(world.keys.box(removed)), "a removed VM's secrets do not come back").toBe(0);
  expect(await world.boxOf(changed)).toBe(other);
});

test("the time that a failed VM's secrets are kept for stays", async () => {
  await using world = await openWorld();
  const vmId = await world.submit(OLD);
  await world.redis.pexpire(world.keys.box(vmId), 60_000);
  await world.boxes.reseal(BOTH, signal);
  expect(boxKeyId(await world.boxOf(vmId))).toBe("new");
  expect(await world.redis.pttl(world.keys.box(vmId))).toBeGreaterThan(30_000);
});

test("it stops with the signal", async () => {
  await using world = await openWorld();
  await world.submit(OLD);
  const reason = new Error("stopped");
  await expect(world.boxes.reseal(BOTH, AbortSignal.abort(reason))).rejects.toBe(reason);
});

test("a key is not dropped while an API that has not read the changed file yet seals with it", async () => {
  await using world = await openWorld();
  const dir = mkdtempSync(join(tmpdir(), "drv-keys-"));
  const file = join(dir, "secrets.key");
  const env = { HOME: dir, DROVER_REDIS_URL: world.url, DROVER_REDIS_PREFIX: world.keys.prefix };
  try {
    writeFileSync(file, `${key("new", 2)}\n${key("old", 1)}\n`, { mode: 0o600 });
    const dropping = runCli(["key", "rm", "old", "--file", file], { env });
    const late = delay(900).then(() => world.submit(OLD)); // an API looks at its file once a second
    expect((await dropping).exitCode).toBe(1);
    await late;
    expect((await dropping).err).toContain("drover key reseal");
    expect(readFileSync(file, "utf8")).toContain("old:");
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
