import { expect, test } from "vitest";
import { openHttpWorld } from "./http-world.ts";

test("a request is accepted, stands in Redis with its job, and is shown", async () => {
  await using world = await openHttpWorld();
  const reply = await world.app.inject({
    method: "POST",
    url: "/v1/vms",
    payload: { name: "first", labels: { team: "a" } },
  });
  expect(reply.statusCode).toBe(202);
  const vm = reply.json();
  expect(vm).toMatchObject({
    state: "queued",
    owner: "local",
    pool: "default",
    priority: "normal",
    epoch: 0,
    replayed: false,
  });
  expect(reply.headers.location).toBe(`/v1/vms/${vm.id}`);
  const job = await world.redis.hgetall(world.keys.bull("vm.default", vm.id));
  expect(JSON.parse(job["data"] ?? "")).toMatchObject({ vmId: vm.id, owner: "local" });
  const shown = await world.app.inject(`/v1/vms/${vm.id}`);
  expect(shown.json()).toMatchObject({ id: vm.id, tail: null });
});
