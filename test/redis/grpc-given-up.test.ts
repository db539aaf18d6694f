import { expect, test, vi } from "vitest";
import { pause } from "../../src/runtime/bounded-wait.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openGrpcWorld } from "./grpc-world.ts";
import { openTestHost } from "./http-host.ts";

const REMOVE = { DROVER_GRPC_ON_CANCEL: "remove" };

test("with DROVER_GRPC_ON_CANCEL=remove nothing runs for a caller that is gone, whatever state its VM is in", async () => {
  await using world = await openGrpcWorld({ env: REMOVE });
  await using host = openTestHost(world.http);
  const { client, deps } = world;
  const stateOf = async (vmId = "") => {
    const record = await deps.store.get(vmId);
    return record?.removal === undefined ? record?.state : `${record.state}, marked`;
  };

  const waiting = client.start("CreateVm", {}, { deadlineMs: 20_000 });
  const waitingId = (await waiting.headers)["drover-vm-id"];
  waiting.cancel();
  await waitFor(async () => (await stateOf(waitingId)) === "removed, marked", { what: "the waiting VM to be removed" });

  const starting = client.start("CreateVm", {}, { deadlineMs: 20_000 });
  const startingId = (await starting.headers)["drover-vm-id"];
  const launched = await host.take();
  starting.cancel();
  await waitFor(async () => (await stateOf(startingId)) === "preparing, marked", { what: "the VM to be marked" });
  await host.complete(launched);

  // Hung up before the answer to the request could have said anything.
  const hasty = client.start("CreateVm", {}, { deadlineMs: 20_000, metadata: { "drover-name": "hasty" } });
  await waitFor(async () => (await deps.queue.waiting("default")) > 0, { intervalMs: 1 });
  hasty.cancel();
  await waitFor(async () => (await deps.queue.waiting("default")) === 0, { what: "the hasty VM to leave the queue" });

  const late = await client.call("CreateVm", {}, { deadlineMs: 1_000 });
  expect([late.status, late.text]).toEqual(["DEADLINE_EXCEEDED", expect.stringContaining("its removal was asked for")]);
  expect(await stateOf(late.headers["drover-vm-id"])).toBe("removed, marked");
  expect(world.audited.filter(({ action }) => action === "vm.remove")).toHaveLength(4);
});

test("a VM that comes to run while its caller hangs up is removed all the same", async () => {
  await using world = await openGrpcWorld({ env: REMOVE });
  await using host = openTestHost(world.http);
  const call = world.client.start("CreateVm", {}, { deadlineMs: 20_000 });
  const vmId = (await call.headers)["drover-vm-id"] ?? "";
  const { store } = world.deps;
  const get = store.get.bind(store);
  // Redis answers that the VM runs just after the caller has gone.
  vi.spyOn(store, "get").mockImplementation(async (id) => {
    const record = await get(id);
    if (record?.state === "running" && record.removal === undefined) {
      call.cancel();
      await call.ended;
      await pause(100);
    }
    return record;
  });
  const launched = await host.take();
  await host.run(launched);
  await waitFor(async () => (await get(vmId))?.removal !== undefined, { what: "the VM to be marked" });
  await host.complete(launched);
});

test("a VM that an earlier call has made with the same key is not removed with a later caller", async () => {
  await using world = await openGrpcWorld({ env: REMOVE });
  const metadata = { "idempotency-key": "k" };
  const first = world.client.start("CreateVm", {}, { deadlineMs: 20_000, metadata });
  const vmId = (await first.headers)["drover-vm-id"] ?? "";
  const second = await world.client.call("CreateVm", {}, { deadlineMs: 600, metadata });
  expect([second.status, second.text]).toEqual(["DEADLINE_EXCEEDED", expect.stringContaining("it is kept")]);
  expect(await world.deps.store.get(vmId)).toMatchObject({ state: "queued" });
  first.cancel();
  await first.ended;
});

test("a server that shuts down answers who waits, and keeps the VM", async () => {
  await using world = await openGrpcWorld({ env: REMOVE });
  const call = world.client.start("CreateVm", {}, { deadlineMs: 20_000 });
  const vmId = (await call.headers)["drover-vm-id"] ?? "";
  const closingMs = performance.now();
  await world.grpc.close();
  expect(performance.now() - closingMs, "nobody is waited for").toBeLessThan(2_000);
  expect(await call.ended).toMatchObject({
    status: "RESOURCE_EXHAUSTED",
    text: expect.stringMatching(new RegExp(`shutting down while VM ${vmId} is queued; it is kept`)),
  });
  expect(await world.deps.store.get(vmId)).toMatchObject({ state: "queued" });
});
