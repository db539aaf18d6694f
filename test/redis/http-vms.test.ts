import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { VmDetail, VmList } from "../../src/contract/vm-view.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { acceptInput } from "../helpers/queue-world.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openTestHost } from "./http-host.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

async function submit(world: HttpWorld, payload: object = {}): Promise<string> {
  const reply = await world.app.inject({ method: "POST", url: "/v1/vms", payload });
  return reply.json().id;
}
const get = (world: HttpWorld, id: string) => world.app.inject(`/v1/vms/${id}`);
const remove = (world: HttpWorld, id: string, headers: Record<string, string> = {}, query = "") =>
  world.app.inject({ method: "DELETE", url: `/v1/vms/${id}${query}`, headers });
const retry = (world: HttpWorld, id: string) => world.app.inject({ method: "POST", url: `/v1/vms/${id}/retry` });

test("a list is newest first, and its pages are all VMs, each once", async () => {
  await using world = await openHttpWorld();
  const ids: string[] = [];
  for (let i = 0; i < 7; i++) ids.push(await submit(world, { name: `vm-${i}` }));
  const seen: string[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const reply = await world.app.inject(`/v1/vms?limit=3${cursor === "" ? "" : `&cursor=${cursor}`}`);
    const page = VmList.parse(reply.json());
    expect(page.items.length).toBeLessThanOrEqual(3);
    seen.push(...page.items.map(({ id }) => id));
    cursor = page.next;
  }
  expect(new Set(seen)).toEqual(new Set(ids));
  expect(seen).toHaveLength(7);
  const times = VmList.parse((await world.app.inject("/v1/vms")).json()).items.map(({ createdAt }) => createdAt);
  expect(times).toEqual([...times].sort().reverse());
});

test("filters narrow a list, and all of them must fit", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const failed = await submit(world, { name: "f", labels: { team: "a", run: "1" } });
  await host.fail(await host.take());
  const queued = await submit(world, { name: "q", labels: { team: "b" } });
  const pooled = await submit(world, { pool: "gpu", labels: { team: "a" } });
  const ids = async (query: string) =>
    VmList.parse((await world.app.inject(`/v1/vms?${query}`)).json()).items.map(({ id }) => id);
  expect(await ids("state=failed")).toEqual([failed]);
  expect(new Set(await ids("state=queued&state=failed"))).toEqual(new Set([failed, queued, pooled]));
  expect(await ids("pool=gpu")).toEqual([pooled]);
  expect(await ids("host=host-a")).toEqual([failed]);
  expect(await ids("cause=guest_panic")).toEqual([failed]);
  expect(new Set(await ids("label=team%3Da"))).toEqual(new Set([failed, pooled]));
  expect(await ids("label=team=a&label=run")).toEqual([failed]);
  expect(await ids("label=team=a&state=queued&pool=default")).toEqual([]);
});

test("a cursor that is none of ours is refused", async () => {
  await using world = await openHttpWorld();
  const reply = await world.app.inject("/v1/vms?cursor=zzz");
  expect(reply.statusCode).toBe(400);
  expect(reply.json()).toMatchObject({ code: "invalid_request", problems: [{ field: "cursor" }] });
});

test("a VM is shown with what is known of its life, and with its last lines when it has ended", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const id = await submit(world, { name: "life" });
  const launched = await host.take();
  await host.run(launched);
  expect(VmDetail.parse((await get(world, id)).json())).toMatchObject({
    state: "running",
    host: "host-a",
    epoch: 1,
    address: { host: "192.0.2.7", port: 6100 },
    command: "qemu-system-x86_64 -machine q35",
    tail: null,
  });
  await host.complete(launched, "bye\n");
  const ended = VmDetail.parse((await get(world, id.toUpperCase())).json());
  expect(ended).toMatchObject({ id, state: "completed", address: null, tail: { console: "bye\n", qemu: "qemu says" } });
});

test.each(["11111111-1111-4111-8111-111111111111", "no-uuid", "%2e%2e%2fx", "*", "{drover}"])(
  "%s is no VM",
  async (id) => {
    await using world = await openHttpWorld();
    for (const reply of await Promise.all([
      get(world, id),
      remove(world, id),
      retry(world, id),
      world.app.inject(`/v1/vms/${id}/console`),
    ])) {
      expect(reply.statusCode).toBe(404);
      expect(reply.json().code).toBe("vm_not_found");
    }
  },
);

test("another owner's VM does not exist, in no list and on no route", async () => {
  const identify = () => ({ owner: "local", role: "submitter", via: "token" }) as const;
  await using world = await openHttpWorld({ identify });
  const foreign = acceptInput({ name: "theirs" }, { owner: "bob" });
  await world.deps.store.accept(foreign);
  const own = await submit(world);
  for (const reply of await Promise.all([
    get(world, foreign.vmId),
    remove(world, foreign.vmId),
    retry(world, foreign.vmId),
    world.app.inject(`/v1/vms/${foreign.vmId}/console`),
  ])) {
    expect([reply.statusCode, reply.json().code]).toEqual([404, "vm_not_found"]);
  }
  for (const query of ["", "?state=queued", "?pool=default"]) {
    expect(VmList.parse((await world.app.inject(`/v1/vms${query}`)).json()).items.map(({ id }) => id)).toEqual([own]);
  }
  expect((await world.deps.store.get(foreign.vmId))?.state, "and nothing was done to it").toBe("queued");
});

test("what was purged is gone on every route", async () => {
  await using world = await openHttpWorld();
  const id = randomUUID();
  await world.redis.set(world.keys.mark(id), JSON.stringify({ reason: "purged", by: "drover", atMs: 1 }));
  for (const reply of await Promise.all([
    get(world, id),
    remove(world, id),
    retry(world, id),
    world.app.inject(`/v1/vms/${id}/console`),
  ])) {
    expect([reply.statusCode, reply.json().code]).toEqual([410, "vm_gone"]);
  }
});

test("a waiting VM is removed at once, and removing again is no error", async () => {
  await using world = await openHttpWorld();
  const id = await submit(world);
  const first = await remove(world, id);
  const second = await remove(world, id);
  expect([first.statusCode, second.statusCode]).toEqual([200, 200]);
  expect(second.json()).toMatchObject({ state: "removed", removal: { reason: "requested", by: "local" } });
});

test("a VM on a host is marked, its host is told once, and Prefer: wait waits for its end", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  await world.deps.hosts.take(hostDescription(), 60_000);
  const id = await submit(world);
  const launched = await host.take();
  await host.run(launched);
  const marked = await remove(world, id);
  expect(marked.statusCode).toBe(202);
  expect(marked.json()).toMatchObject({ state: "running", removal: { reason: "requested" } });
  expect((await remove(world, id)).statusCode).toBe(202);
  expect(await world.redis.exists(world.keys.bull("vm-remove.host-a", `remove-${id}`))).toBe(1);
  const waiting = remove(world, id, { prefer: "wait=30" });
  await host.complete(launched);
  const ended = await waiting;
  expect([ended.statusCode, ended.json().state, ended.headers["preference-applied"]]).toEqual([
    200,
    "completed",
    "wait=30",
  ]);
});

test("force is part of the mark", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const id = await submit(world);
  await host.take();
  expect((await remove(world, id, {}, "?force=true")).statusCode).toBe(202);
  expect(JSON.parse((await world.redis.get(world.keys.mark(id))) ?? "{}")).toMatchObject({ force: true });
  expect((await remove(world, id, {}, "?force=perhaps")).statusCode).toBe(400);
});

test("a failed VM is retried with all its attempts, and once only", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const id = await submit(world, { agentCertsToken: "t" });
  await host.fail(await host.take());
  const again = await waitFor(async () => {
    const reply = await retry(world, id);
    return reply.statusCode === 202 ? reply : undefined;
  });
  expect(again.json()).toMatchObject({ state: "queued", attempts: { made: 0 }, cause: null, endedAt: null });
  const twice = await retry(world, id);
  expect([twice.statusCode, twice.json().code]).toEqual([409, "not_retryable"]);
  expect((await host.take()).launch.epoch, "the epoch goes on counting").toBe(2);
});

test("what cannot be retried says why", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const queued = await submit(world);
  expect((await retry(world, queued)).json()).toMatchObject({
    code: "not_retryable",
    detail: expect.stringContaining("is queued"),
  });
  await host.fail(await host.take());
  await remove(world, queued);
  expect((await retry(world, queued)).json()).toMatchObject({
    code: "not_retryable",
    detail: expect.stringContaining("removal"),
  });

  const secret = await submit(world, { agentCertsToken: "t" });
  await host.fail(await host.take());
  await world.redis.del(world.keys.box(secret));
  const gone = await retry(world, secret);
  expect([gone.statusCode, gone.json().code]).toEqual([409, "secrets_gone"]);
});
