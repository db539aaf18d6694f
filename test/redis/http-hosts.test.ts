import { expect, test } from "vitest";
import { HostDetail, HostForgotten, HostList } from "../../src/contract/host-view.ts";
import { VmDetail, VmList, VmView } from "../../src/contract/vm-view.ts";
import type { HostDescription } from "../../src/queue/host-description.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { openTestHost } from "./http-host.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const TTL_MS = 3_600_000;

async function submit(world: HttpWorld): Promise<string> {
  return (await world.app.inject({ method: "POST", url: "/v1/vms", payload: {} })).json().id;
}
const lives = (world: HttpWorld, over: Partial<HostDescription> = {}) =>
  world.deps.hosts.take(hostDescription(over), TTL_MS);
const dies = (world: HttpWorld) => world.redis.del(world.keys.lease("host-a"));
const show = (world: HttpWorld, id = "host-a") => world.app.inject(`/v1/hosts/${id}`);
const forget = (world: HttpWorld, id = "host-a") => world.app.inject({ method: "DELETE", url: `/v1/hosts/${id}` });
const remove = (world: HttpWorld, id: string) => world.app.inject({ method: "DELETE", url: `/v1/vms/${id}` });
const get = async (world: HttpWorld, id: string) => VmDetail.parse((await world.app.inject(`/v1/vms/${id}`)).json());

test("hosts are listed with how they stand and what they offer", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const cause = { code: "kvm_unavailable", message: "no /dev/kvm" } as const;
  await lives(world, { breaker: { openUntilMs: Date.now() + 60_000, failures: 3, cause } });
  await lives(world, { hostId: "host-b", breaker: { openUntilMs: 1, failures: 3, cause: null } });
  await submit(world);
  await host.take();
  const { items } = HostList.parse((await world.app.inject("/v1/hosts")).json());
  expect(items).toMatchObject([
    {
      id: "host-a",
      status: "live",
      vms: 1,
      slots: 4,
      policy: { lost: "rerun", lostAfterMs: 60_000, onPartition: "keep" },
      breaker: { failures: 3, cause },
      silentSince: null,
      awayUntil: null,
      version: "1.2.3",
      address: "10.0.0.1",
      pools: ["default"],
      ports: { first: 6100, last: 6200 },
      tee: "none",
      accel: "kvm",
      gpu: null,
      startedAt: "2023-11-14T22:13:20.000Z",
    },
    { id: "host-b", status: "live", vms: 0, breaker: null },
  ]);
  expect(items[0]?.leaseLeftMs).toBeGreaterThan(TTL_MS - 60_000);
});

test("what a host has and what is left of it is shown as it says, and null where it says nothing", async () => {
  await using world = await openHttpWorld();
  await lives(world, {
    machine: { cpu: "EPYC", cores: 64, kernel: "6.12", qemu: "10.0", bootedAtMs: 1_700_000_000_000 },
    memory: { totalBytes: 1_000, reservedBytes: 100 },
    offer: { tee: "snp", gpu: true, ownSize: true, memoryClasses: { large: 500 }, labels: { zone: "a" } },
    room: { slots: 3, ports: 9, teeKeys: 12, memoryBytes: 400, sizes: ["", "large"], gpu: true },
  });
  expect(HostDetail.parse((await show(world)).json())).toMatchObject({
    machine: { cpu: "EPYC", cores: 64, kernel: "6.12", qemu: "10.0", bootedAt: "2023-11-14T22:13:20.000Z" },
    memory: { totalBytes: 1_000, reservedBytes: 100, freeBytes: 400 },
    memoryClasses: { large: 500 },
    labels: { zone: "a" },
    room: { slots: 3, ports: 9, teeKeys: 12, gpu: true },
    portsTaken: 0,
  });
  await lives(world, { hostId: "older" });
  const older = { machine: null, memory: null, memoryClasses: {}, labels: {}, room: null };
  expect(HostDetail.parse((await show(world, "older")).json())).toMatchObject(older);
});

test("a host is silent, then lost when its own time is over, and away while it said so", async () => {
  await using world = await openHttpWorld();
  await lives(world);
  await dies(world);
  const silent = HostDetail.parse((await show(world)).json());
  expect(silent).toMatchObject({ status: "silent", leaseLeftMs: null, awayUntil: null });
  expect(Date.now() - Date.parse(silent.silentSince ?? "")).toBeLessThan(10_000);
  await world.redis.hset(world.keys.host("host-a"), "seenAtMs", Date.now() - 61_000);
  expect(HostDetail.parse((await show(world)).json()).status).toBe("lost");
  await world.deps.hosts.goAway(hostDescription(), 60_000);
  const away = HostDetail.parse((await show(world)).json());
  expect([away.status, Date.parse(away.awayUntil ?? "") > Date.now()]).toEqual(["away", true]);
});

test("what nobody can read of a host is null, and it is a host all the same", async () => {
  await using world = await openHttpWorld();
  await world.redis.sadd(world.keys.hosts, "odd");
  await world.redis.hset(world.keys.host("odd"), "description", '{"v":2}');
  expect(HostDetail.parse((await show(world, "odd")).json())).toMatchObject({
    status: "silent",
    policy: null,
    version: null,
    pools: [],
    silentSince: null,
    vmIds: [],
  });
});

test("a host is shown with the ids of its VMs, and what is none has no page", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  await lives(world);
  const id = await submit(world);
  await host.take();
  expect(HostDetail.parse((await show(world)).json()).vmIds).toEqual([id]);
  for (const reply of [await show(world, "nobody"), await forget(world, "nobody")])
    expect([reply.statusCode, reply.json().code]).toEqual([404, "host_not_found"]);
  const page = await world.app.inject({ url: "/v1/hosts", headers: { accept: "text/html" } });
  expect(page.statusCode).toBe(406);
});

test("a host that lives is not forgotten; one that is gone is, and says what became of its VMs", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  await lives(world);
  const [running, marked] = [await submit(world), await submit(world)];
  await host.run(await host.take());
  await host.run(await host.take());
  await remove(world, marked);
  const refused = await forget(world);
  expect([refused.statusCode, refused.json().code]).toEqual([409, "host_alive"]);
  await dies(world);
  const forgotten = await forget(world);
  expect(forgotten.statusCode).toBe(200);
  expect(HostForgotten.parse(forgotten.json())).toEqual({
    id: "host-a",
    requeued: [running],
    removed: [marked],
    failed: [],
  });
  expect(await get(world, running)).toMatchObject({ state: "queued", host: null, hostStatus: null, unverified: false });
  expect(await get(world, marked)).toMatchObject({ state: "removed", unverified: true, hostStatus: null });
  expect((await forget(world)).statusCode).toBe(404);
  expect(HostList.parse((await world.app.inject("/v1/hosts")).json()).items).toEqual([]);
});

test("a VM says whether its host lives; one to be removed from a host that does not is stopping", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  await lives(world);
  const [running, queued] = [await submit(world), await submit(world)];
  await host.run(await host.take());
  expect(await get(world, running)).toMatchObject({ state: "running", hostStatus: "live" });
  expect(await get(world, queued)).toMatchObject({ state: "queued", hostStatus: null });
  await dies(world);
  await lives(world, { stateId: "wiped" });
  expect((await get(world, running)).hostStatus, "another state directory is another worker").toBe("unreachable");
  await dies(world);
  const { items } = VmList.parse((await world.app.inject("/v1/vms")).json());
  expect(new Map(items.map(({ id, hostStatus }) => [id, hostStatus]))).toEqual(
    new Map([
      [running, "unreachable"],
      [queued, null],
    ]),
  );
  const removed = await remove(world, running);
  expect([removed.statusCode, VmView.parse(removed.json()).state]).toEqual([202, "stopping"]);
  await lives(world);
  expect(await get(world, running), "its host will stop it").toMatchObject({ state: "running", hostStatus: "live" });
});

test("a page of VMs asks once for all its hosts, and not at all when none is held", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  for (let i = 0; i < 5; i++) await submit(world);
  const asked: (readonly string[])[] = [];
  const leases = world.deps.hosts.leases.bind(world.deps.hosts);
  world.deps.hosts.leases = (hostIds) => {
    asked.push(hostIds);
    return leases(hostIds);
  };
  await world.app.inject("/v1/vms");
  expect(asked).toEqual([]);
  for (let i = 0; i < 5; i++) await host.run(await host.take());
  await world.app.inject("/v1/vms");
  expect(asked).toHaveLength(1);
});
