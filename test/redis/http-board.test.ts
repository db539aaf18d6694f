import { appRoutes } from "@bull-board/api/dist/routes.js";
import type { HTTPMethods } from "fastify";
import { expect, test } from "vitest";
import { z } from "zod";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openTestHost } from "./http-host.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const Jobs = z.looseObject({
  queues: z.array(
    z.looseObject({
      name: z.string(),
      readOnlyMode: z.boolean(),
      allowRetries: z.boolean(),
      counts: z.record(z.string(), z.number()),
      jobs: z.array(
        z.looseObject({
          id: z.string(),
          name: z.string(),
          data: z.unknown(),
          progress: z.unknown(),
          returnValue: z.unknown(),
          failedReason: z.string().optional(),
          stacktrace: z.array(z.string()),
          externalUrl: z.looseObject({ href: z.string() }).optional(),
        }),
      ),
    }),
  ),
});

async function boardQueue(world: HttpWorld, status: string, queue = "vm.default") {
  const reply = await world.app.inject(`/board/api/queues?activeQueue=${queue}&status=${status}&page=1&jobsPerPage=10`);
  expect(reply.statusCode).toBe(200);
  const { queues } = Jobs.parse(reply.json());
  const found = queues.find(({ name }) => name === queue);
  if (found === undefined) throw new Error(`no queue ${queue} among ${queues.map(({ name }) => name)}`);
  return found;
}

async function submit(world: HttpWorld, payload: object = {}): Promise<string> {
  return (await world.app.inject({ method: "POST", url: "/v1/vms", payload })).json().id;
}

test("running VMs are Active with their live state, ended ones Completed, failed launches Failed with their story", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  const [running, ended, failed, waiting] = [
    await submit(world, { name: "r" }),
    await submit(world),
    await submit(world),
    await submit(world),
  ];
  await host.run(await host.take());
  const second = await host.take();
  await host.run(second);
  await host.complete(second, "bye");
  const third = await host.take();
  await host.run(third);
  await host.fail(third, { console: "Kernel panic - not syncing", message: "<img src=x onerror=alert(1)>" });

  const active = await boardQueue(world, "active");
  expect(active).toMatchObject({ readOnlyMode: true, allowRetries: false });
  expect(active.jobs).toHaveLength(1);
  expect(active.jobs[0]).toMatchObject({
    id: running,
    name: "r",
    data: { vmId: running, owner: "local", spec: { name: "r" } },
    progress: { state: "running", host: "host-a", launch: 1, port: 6100, address: "192.0.2.7" },
    externalUrl: { href: `/vms/${running}` },
  });
  const completed = await boardQueue(world, "completed");
  expect(completed.jobs[0]).toMatchObject({
    id: ended,
    returnValue: { outcome: "completed", exitCode: 0, host: "host-a" },
  });
  const lost = await boardQueue(world, "failed");
  expect(lost.jobs[0]).toMatchObject({ id: failed, progress: { state: "failed", cause: { code: "guest_panic" } } });
  const [story = ""] = lost.jobs[0]?.stacktrace ?? [];
  for (const part of ["guest_panic", "host host-a", "command: qemu-system-x86_64", "Kernel panic - not syncing"])
    expect(story).toContain(part);
  expect((await boardQueue(world, "prioritized")).jobs.map(({ id }) => id)).toEqual([waiting]);
});

test("pools and hosts that appear elsewhere appear on the page", async () => {
  await using world = await openHttpWorld();
  await world.redis.sadd(world.keys.pools, "gpu");
  await world.redis.sadd(world.keys.hosts, "host-z");
  const names = await waitFor(async () => {
    const { queues } = Jobs.parse((await world.app.inject("/board/api/queues")).json());
    return queues.length >= 2 ? queues.map(({ name }) => name) : undefined;
  });
  expect(names).toEqual(expect.arrayContaining(["vm.gpu", "vm-remove.host-z"]));
});

test("queues of hosts that are forgotten disappear from the page, and a host that comes back is there again", async () => {
  await using world = await openHttpWorld();
  await submit(world);
  const names = async () =>
    Jobs.parse((await world.app.inject("/board/api/queues")).json()).queues.map(({ name }) => name);
  const untilShown = (wanted: readonly string[]) =>
    waitFor(async () => JSON.stringify(await names()) === JSON.stringify(wanted), {
      what: `the page to show ${wanted}`,
    });
  const host = hostDescription({ hostId: "host-z" });
  await world.deps.hosts.take(host, 60_000);
  await world.deps.queue.notifyWish("host-z");
  await untilShown(["vm.default", "vm-remove.host-z"]);
  await world.deps.hosts.withdraw(host);
  await world.app.inject({ method: "DELETE", url: "/v1/hosts/host-z" });
  await untilShown(["vm.default"]);
  expect((await world.redis.keys(`${world.keys.prefix}:vm-remove*`)).length).toBe(0);
  await world.deps.hosts.take(host, 60_000);
  await untilShown(["vm.default", "vm-remove.host-z"]);
  await submit(world);
  expect((await boardQueue(world, "prioritized")).jobs).toHaveLength(2);
});

/** All routes that Bull Board itself declares, with addresses of an existing queue and job. */
function boardRoutes(jobId: string): { method: HTTPMethods; url: string }[] {
  const values: Readonly<Record<string, string>> = {
    queueName: "vm.default",
    jobId,
    queueStatus: "failed",
    schedulerId: "s",
  };
  return appRoutes.api.flatMap(({ method, route }) =>
    [method].flat().flatMap((name) =>
      [route].flat().map((path) => ({
        method: name.toUpperCase() as HTTPMethods, // Bull Board writes the same names in lower case
        url: `/board${path.replace(/:(\w+)/g, (_param, param: string) => values[param] ?? "x")}`,
      })),
    ),
  );
}

test("nothing can be written: every route of the board that is no GET is refused", async () => {
  await using world = await openHttpWorld();
  const id = await submit(world);
  const writes = boardRoutes(id).filter(({ method }) => method !== "GET");
  expect(writes.length).toBeGreaterThan(20);
  for (const { method, url } of writes) {
    const reply = await world.app.inject({ method, url, payload: { state: "failed" } });
    expect([reply.statusCode, reply.json().code], `${method} ${url}`).toEqual([405, "method_not_allowed"]);
  }
  expect((await world.app.inject({ method: "POST", url: "/board" })).statusCode).toBe(405);
  expect(await world.redis.exists(world.keys.bull("vm.default", id)), "the job is untouched").toBe(1);
  expect(await world.redis.hget(world.keys.bull("vm.default", "meta"), "paused")).toBeNull();
});

test("the page and its assets are served by this server alone", async () => {
  await using world = await openHttpWorld();
  const page = await world.app.inject("/board");
  expect(page.headers["content-type"]).toContain("text/html");
  expect(page.headers["content-security-policy"]).toContain("script-src 'self'");
  const scripts = [...page.body.matchAll(/<script[^>]* src="([^"]+)"/g)].map(([, source = ""]) => source);
  expect(scripts.length).toBeGreaterThan(0);
  for (const source of scripts) expect((await world.app.inject(`/board/${source}`)).statusCode, source).toBe(200);
  expect(
    (await world.app.inject("/board/queue/vm.default")).headers["content-type"],
    "its own addresses lead to the page",
  ).toContain("text/html");
});

test("a defect behind the board says nothing of itself", async () => {
  await using world = await openHttpWorld();
  await submit(world);
  await world.redis.del(world.keys.bull("vm.default", "prioritized"));
  await world.redis.set(world.keys.bull("vm.default", "prioritized"), "CANARY");
  const reply = await world.app.inject("/board/api/queues");
  expect([reply.statusCode, reply.json().code]).toEqual([500, "internal_error"]);
  expect(reply.body).not.toMatch(/CANARY|WRONGTYPE|stack/);
});

test("the page to read and try the API comes from this server alone", async () => {
  await using world = await openHttpWorld();
  const page = await world.app.inject("/docs");
  expect(page.statusCode).toBe(200);
  const sources = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, source = ""]) => source);
  expect(sources.length).toBeGreaterThan(3);
  for (const source of sources) {
    expect(source).toMatch(/^\/docs\//);
    expect((await world.app.inject(source)).statusCode, source).toBe(200);
  }
  expect((await world.app.inject("/docs/json")).json()).toEqual((await world.app.inject("/openapi.json")).json());
});
