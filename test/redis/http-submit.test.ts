import { expect, test } from "vitest";
import { openSealed } from "../../src/runtime/sealing.ts";
import { parseSecretKeys } from "../../src/runtime/secret-keys.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openTestHost } from "./http-host.ts";
import { type HttpWorld, openHttpWorld, TEST_KEYS } from "./http-world.ts";

const post = (world: HttpWorld, payload: object, headers: Record<string, string> = {}) =>
  world.app.inject({ method: "POST", url: "/v1/vms", payload, headers });

test("a request is accepted, stands in Redis with its job, and is shown", async () => {
  await using world = await openHttpWorld();
  const reply = await post(world, {
    name: "first",
    labels: { team: "a" },
    priority: "low",
    attempts: 5,
    queueTimeout: "1h",
  });
  expect(reply.statusCode).toBe(202);
  const vm = reply.json();
  expect(vm).toMatchObject({
    state: "queued",
    owner: "local",
    pool: "default",
    priority: "low",
    epoch: 0,
    attempts: { made: 0, max: 5 },
    replayed: false,
  });
  expect(reply.headers.location).toBe(`/v1/vms/${vm.id}`);
  expect(reply.headers["preference-applied"]).toBeUndefined();
  const job = await world.redis.hgetall(world.keys.bull("vm.default", vm.id));
  expect(JSON.parse(job["data"] ?? "")).toEqual({ v: 1, vmId: vm.id, owner: "local", pool: "default", spec: vm.spec });
  expect(await world.redis.zcard(world.keys.pendingJobs), "the sweeper has nothing to do").toBe(0);
  const shown = await world.app.inject(`/v1/vms/${vm.id}`);
  const { replayed, warnings, ...view } = vm;
  expect(warnings, "no host is there").toEqual([{ code: "no_live_host", message: expect.any(String) }]);
  expect(shown.json()).toEqual({
    ...view,
    tail: null,
    forensics: null,
    waiting: expect.objectContaining({ reason: "no_live_host", position: 1 }),
  });
});

test("an empty object is a request, and empty texts count as left out", async () => {
  await using world = await openHttpWorld({ secretKeys: undefined });
  expect((await post(world, {})).json()).toMatchObject({ spec: {}, hasSecrets: false });
  const empty = await post(world, { name: "", ttl: "", awsSecretAccessKey: "", agentCvmClientKey: "" });
  expect(empty.json()).toMatchObject({ spec: {}, hasSecrets: false });
});

test("the pool of the request, else the first of this server's pools", async () => {
  await using world = await openHttpWorld({ env: { DROVER_POOLS: "gpu,plain" } });
  expect((await post(world, {})).json().pool).toBe("gpu");
  expect((await post(world, { pool: "big" })).json().pool).toBe("big");
});

test("secrets are sealed for this VM and stand nowhere else in Redis, nor in any answer or log", async () => {
  const log: string[] = [];
  await using world = await openHttpWorld({ log });
  const secrets = {
    agentCvmClientKey: "-----BEGIN CANARY-KEY",
    agentCertsToken: "CANARY-TOKEN",
    awsAccessKeyId: "CANARY-ID",
    awsSecretAccessKey: "CANARY-AWS",
    aaKbsParams: "CANARY-KBS",
  };
  const reply = await post(world, { name: "s", ...secrets }, { "idempotency-key": "k" });
  const vm = reply.json();
  expect(vm).toMatchObject({ hasSecrets: true, spec: { name: "s" } });
  const box = (await world.redis.get(world.keys.box(vm.id))) ?? "";
  expect(openSealed(TEST_KEYS, { owner: "local", vmId: vm.id }, box)).toEqual(secrets);
  const dump: unknown[] = [];
  for (const key of await world.redis.keys(`${world.keys.prefix.replace(/[{}]/g, "\\$&")}*`))
    dump.push(key, await world.redis.dump(key));
  const [record, events] = await Promise.all([
    world.redis.hgetall(world.keys.record(vm.id)),
    world.redis.xrange(world.keys.events, "-", "+"),
  ]);
  const answers = [
    reply.body,
    (await world.app.inject(`/v1/vms/${vm.id}`)).body,
    (await world.app.inject("/v1/vms")).body,
  ];
  const board = await world.app.inject("/board/api/queues?activeQueue=vm.default&status=latest&page=1&jobsPerPage=10");
  expect(JSON.stringify([dump.map(String), record, events, answers, board.body, log])).not.toContain("CANARY");
});

test("a request with secrets is refused without a key, and nothing is stored", async () => {
  await using world = await openHttpWorld({ secretKeys: undefined });
  const reply = await post(world, { awsSecretAccessKey: "CANARY" });
  expect(reply.statusCode).toBe(422);
  expect(reply.json()).toMatchObject({
    code: "secrets_key_missing",
    detail: expect.stringContaining("awsSecretAccessKey"),
  });
  expect(reply.body).not.toContain("CANARY");
  expect(await world.redis.exists(world.keys.allVms)).toBe(0);
});

test("KBS parameters are refused with a disk, where nothing would read them", async () => {
  await using world = await openHttpWorld({ env: { MANAGER_QEMU_ENABLE_DISK: "true" } });
  const refused = await post(world, { aaKbsParams: "cc_kbc::http://kbs:8080" });
  expect(refused.statusCode).toBe(422);
  expect(refused.json()).toMatchObject({ code: "kbs_params_with_disk", problems: [{ field: "aaKbsParams" }] });
  expect((await post(world, { agentCertsToken: "t" })).statusCode).toBe(202);
});

test("the same idempotency key with the same request is the same VM, whatever the order of the fields", async () => {
  await using world = await openHttpWorld();
  const headers = { "idempotency-key": "once" };
  const first = await post(world, { name: "a", labels: { x: "1", y: "2" }, agentCertsToken: "t" }, headers);
  const second = await post(world, { agentCertsToken: "t", labels: { y: "2", x: "1" }, name: "a" }, headers);
  expect([first.statusCode, second.statusCode]).toEqual([202, 200]);
  expect(second.json()).toMatchObject({ id: first.json().id, replayed: true });
  expect(second.headers.location).toBe(first.headers.location);
  expect(await world.redis.zcard(world.keys.allVms)).toBe(1);
});

test.each([{ name: "b" }, { name: "a", agentCertsToken: "u" }, {}])(
  "the same key with another request is a conflict: %j",
  async (other) => {
    await using world = await openHttpWorld();
    const headers = { "idempotency-key": "once" };
    const first = await post(world, { name: "a", agentCertsToken: "t" }, headers);
    const conflict = await post(world, other, headers);
    expect(conflict.statusCode).toBe(409);
    expect(conflict.json()).toMatchObject({
      code: "idempotency_conflict",
      detail: expect.stringContaining(first.json().id),
    });
    expect(await world.redis.zcard(world.keys.allVms)).toBe(1);
  },
);

test("ten copies of a request at once make one VM", async () => {
  await using world = await openHttpWorld();
  const replies = await Promise.all(
    Array.from({ length: 10 }, () => post(world, { name: "a" }, { "idempotency-key": "once" })),
  );
  expect(new Set(replies.map((reply) => reply.json().id)).size).toBe(1);
  expect(replies.map((reply) => reply.statusCode).sort()).toEqual([200, 200, 200, 200, 200, 200, 200, 200, 200, 202]);
});

test("the same request is still known after the sealing key was changed", async () => {
  await using world = await openHttpWorld();
  const request = { agentCertsToken: "t" };
  const first = await post(world, request, { "idempotency-key": "once" });
  const rotated = parseSecretKeys(
    `k2:${Buffer.alloc(32, 2).toString("base64")},k1:${Buffer.alloc(32, 1).toString("base64")}`,
    "test",
  );
  await using later = await openHttpWorld({ secretKeys: rotated, env: { DROVER_REDIS_PREFIX: world.keys.prefix } });
  const second = await post(later, request, { "idempotency-key": "once" });
  expect(second.json()).toMatchObject({ id: first.json().id, replayed: true });
});

test("a key whose VM was purged is gone", async () => {
  await using world = await openHttpWorld();
  const first = await post(world, {}, { "idempotency-key": "once" });
  await world.redis.del(world.keys.record(first.json().id));
  const again = await post(world, {}, { "idempotency-key": "once" });
  expect(again.statusCode).toBe(410);
  expect(again.json()).toMatchObject({ code: "vm_gone" });
});

test("keys of two owners are two keys", async () => {
  const identify = (request: { headers: Record<string, unknown> }) =>
    ({ owner: String(request.headers["x-owner"]), role: "submitter", via: "token" }) as const;
  await using world = await openHttpWorld({ identify });
  const [a, b] = await Promise.all(
    ["alice", "bob"].map((owner) => post(world, {}, { "idempotency-key": "once", "x-owner": owner })),
  );
  expect([a?.statusCode, b?.statusCode]).toEqual([202, 202]);
  expect(a?.json().id).not.toBe(b?.json().id);
});

test("Prefer: wait answers when the guest runs", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const waiting = post(world, { name: "w" }, { prefer: "wait=30" });
  await host.run(await waitFor(() => host.take()));
  const reply = await waiting;
  expect(reply.statusCode).toBe(202);
  expect(reply.headers["preference-applied"]).toBe("wait=30");
  expect(reply.json()).toMatchObject({ state: "running", address: { host: "192.0.2.7", port: 6100 } });
});

test("with a probe it waits for ready, and an end ends every wait", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const waiting = post(world, { probe: { type: "tcp" } }, { prefer: "wait=30" });
  const launched = await waitFor(() => host.take());
  await host.run(launched);
  await host.fail(launched);
  expect((await waiting).json()).toMatchObject({ state: "failed", cause: { code: "guest_panic", fault: "vm" } });
});

test("a wait that is over gives the VM as it is", async () => {
  await using world = await openHttpWorld();
  const startedMs = performance.now();
  const reply = await post(world, {}, { prefer: "wait=1" });
  expect(performance.now() - startedMs).toBeGreaterThan(950);
  expect(reply.statusCode).toBe(202);
  expect(reply.json().state).toBe("queued");
});
