import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Scope } from "../../src/runtime/scope.ts";
import { openCocosClient } from "../helpers/cocos-client.ts";
import { removeStateDir } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";

const world = sharedDrover({ rom: "obedient", env: { MANAGER_MAX_VMS: "1", DROVER_GRPC_CREATE_TIMEOUT: "15s" } });
const open = () => openCocosClient(new URL(world().api.grpcUrl).host);

test("a Cocos client creates a VM on the machine that it calls, waits for a free slot, and removes", async () => {
  using client = open();
  const first = await client.call("CreateVm", { ttl: "1h0m0s", agentCvmServerUrl: "10.0.2.2:7001" });
  const { cvmId, forwardedPort } = first.message as { cvmId: string; forwardedPort: string };
  expect(first.status).toBe("OK");
  const vm = await world().get(cvmId);
  expect(vm).toMatchObject({ state: "running", host: world().worker?.hostId, pool: `@${world().worker?.hostId}` });
  expect(vm.address?.port).toBe(Number(forwardedPort));
  expect(first.trailers["drover-address"]).toBe(`${vm.address?.host}:${forwardedPort}`);

  const second = client.start("CreateVm", {});
  expect(await second.headers, "the only slot is taken").toMatchObject({ "drover-state": "queued" });
  expect(await client.call("RemoveVm", { cvmId })).toMatchObject({ status: "OK" });
  expect((await world().get(cvmId)).state, "gone, not only marked").toBe("removed");
  const { status, message } = await second.ended;
  expect(status).toBe("OK");
  expect(await client.call("RemoveVm", { cvmId: message["cvmId"] })).toMatchObject({ status: "OK" });
  expect(await client.call("RemoveVm", { cvmId: message["cvmId"] }), "twice").toMatchObject({ status: "OK" });
});

test("with two workers on the machine a VM goes to the one that has a place", async () => {
  await using scope = new Scope(); // ends after the worker
  const dir = scope.own(mkdtempSync(join(tmpdir(), "drv-g-")), removeStateDir);
  const other = await world().runWorker({ DROVER_STATE_DIR: dir, MANAGER_INSTANCE_ID: "other" });
  using client = open();
  const calls = await Promise.all([client.call("CreateVm"), client.call("CreateVm", { ttl: "1h" })]);
  expect(calls.map(({ status }) => status)).toEqual(["OK", "OK"]);
  const ids = calls.map(({ message }) => String(message["cvmId"]));
  const hosts = await Promise.all(ids.map(async (id) => (await world().get(id)).host));
  expect(new Set(hosts).size, "one each").toBe(2);
  for (const cvmId of ids) expect(await client.call("RemoveVm", { cvmId })).toMatchObject({ status: "OK" });
  await other.stop("stop");
  await expectAgreement(world());
});

test("a VM that the host cannot launch fails with the cause and the way out", async () => {
  await world().worker?.stop("stop");
  const host = await world().runWorker({ MANAGER_QEMU_DISK_IMG_KERNEL_FILE: "/nope/bzImage" });
  using client = open();
  const { status, text, trailers } = await client.call("CreateVm");
  expect([status, trailers["drover-cause"]]).toEqual(["FAILED_PRECONDITION", "kernel_missing"]);
  expect(text).toMatch(/^VM [0-9a-f-]{36} failed before it ran: kernel_missing: .*\/nope\/bzImage/);
  await host.stop("stop");
});
