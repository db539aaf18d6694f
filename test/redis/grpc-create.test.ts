import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "../helpers/wait-for.ts";
import { type GrpcWorld, openGrpcWorld } from "./grpc-world.ts";
import { openTestHost, type TestHost } from "./http-host.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

let world: GrpcWorld;
let host: TestHost;
beforeAll(async () => {
  world = await openGrpcWorld({ env: { DROVER_GRPC_CREATE_TIMEOUT: "300ms" } });
  host = openTestHost(world.http);
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const record = async (vmId = "") => world.deps.store.get(vmId);
const jobs = () => world.deps.queue.waiting("default");

/** Takes what is left in the queue away, so that tests do not meet. */
async function removeAt(vmId = ""): Promise<void> {
  expect(await world.client.call("RemoveVm", { cvmId: vmId })).toMatchObject({ status: "OK" });
}

describe("CreateVm", () => {
  test("queues, tells at once what it has queued, and answers when the VM runs", async () => {
    const call = world.client.start("CreateVm", { ttl: "1h0m0s", agentLogLevel: "info" }, { deadlineMs: 20_000 });
    const headers = await call.headers;
    expect(headers).toMatchObject({
      "drover-state": "queued",
      "drover-queue-position": "0",
      "drover-warning": "no_live_host",
    });
    expect(headers["drover-vm-id"]).toMatch(UUID);
    const launched = await host.take();
    await host.run(launched);
    expect(await call.ended).toMatchObject({
      status: "OK",
      message: { forwardedPort: String(launched.port), cvmId: headers["drover-vm-id"] },
      trailers: { "drover-address": `192.0.2.7:${launched.port}`, "drover-state": "running" },
    });
    expect(world.audited.at(-1)).toMatchObject({
      action: "vm.submit",
      target: headers["drover-vm-id"],
      protocol: "grpc",
      outcome: "ok",
    });
    await host.complete(launched);
  });

  test("makes the request of HTTP out of Cocos's thirteen fields; secrets are in no record", async () => {
    const request = {
      agentLogLevel: "debug",
      agentCvmServerCaCert: Buffer.from(PEM),
      agentCvmClientKey: Buffer.from("canary-key"),
      agentCvmClientCert: Buffer.from([0x30, 0x82, 0xff]),
      agentCvmServerUrl: "cvms.example.org:7001",
      agentCvmCaUrl: "https://ca.example.org",
      ttl: "90m",
      agentCertsToken: "canary-token",
      awsAccessKeyId: "canary-id",
      awsSecretAccessKey: "canary-secret",
      awsEndpointUrl: "http://10.0.2.2:9000",
      awsRegion: "us-east-1",
      aaKbsParams: "cc_kbc::http://canary:8080",
    };
    const metadata = { "drover-name": "night-7", "drover-priority": "high", "drover-label": "team=red" };
    const call = world.client.start("CreateVm", request, { metadata, deadlineMs: 20_000 });
    const headers = await call.headers;
    call.cancel();
    const stored = await record(headers["drover-vm-id"]);
    expect(stored).toMatchObject({ owner: "local", pool: "default", priority: "high", hasSecrets: true });
    expect(stored?.spec).toEqual({
      name: "night-7",
      priority: "high",
      labels: { team: "red" },
      agentLogLevel: "debug",
      agentCvmServerCaCert: PEM,
      agentCvmClientCert: "MIL/",
      agentCvmServerUrl: "cvms.example.org:7001",
      agentCvmCaUrl: "https://ca.example.org",
      ttl: "90m",
      awsEndpointUrl: "http://10.0.2.2:9000",
      awsRegion: "us-east-1",
    });
    expect(JSON.stringify(stored)).not.toContain("canary");
    await removeAt(headers["drover-vm-id"]);
  });

  test.each([
    ["a TTL that is no duration", { ttl: "soon" }, {}, /^ttl: .*"soon"/],
    ["a TTL below zero", { ttl: "-1h" }, {}, /^ttl: must be above zero/],
    ["a line break", { agentLogLevel: "info\nAGENT_VMPL=0" }, {}, /^agentLogLevel: must not hold control characters/],
    ["a blank in KBS parameters", { aaKbsParams: "x init=/bin/sh" }, {}, /^aaKbsParams: may hold only/],
    [
      "a key above 64 KiB",
      { agentCvmClientKey: Buffer.alloc(70_000) },
      {},
      /^agentCvmClientKey: must be at most 65536 bytes/,
    ],
    ["the pool of a host", {}, { "drover-pool": "@host-a" }, /^pool: a pool name has/],
    ["an unknown priority", {}, { "drover-priority": "urgent" }, /^priority: /],
    ["a label without a value", {}, { "drover-label": "red" }, /^drover-label: must be name=value/],
    ["a blank in the idempotency key", {}, { "idempotency-key": "a b" }, /^Idempotency-Key: /],
  ])("refuses %s before anything is queued", async (_what, request, metadata, text) => {
    const before = await jobs();
    const { status, text: said } = await world.client.call("CreateVm", request, { metadata });
    expect([status, said]).toEqual(["INVALID_ARGUMENT", expect.stringMatching(text)]);
    expect(await jobs()).toBe(before);
    expect(world.audited.at(-1)).toMatchObject({ action: "vm.submit", target: "", outcome: "invalid_request" });
  });

  test("is told the VM of the first call by its idempotency key", async () => {
    const metadata = { "idempotency-key": "night-8" };
    const first = await world.client.call("CreateVm", { ttl: "5m" }, { metadata });
    const again = await world.client.call("CreateVm", { ttl: "5m" }, { metadata });
    const other = await world.client.call("CreateVm", { ttl: "6m" }, { metadata });
    expect(again.headers["drover-vm-id"]).toBe(first.headers["drover-vm-id"]);
    expect([other.status, other.text]).toEqual(["FAILED_PRECONDITION", expect.stringContaining("night-8")]);
    await removeAt(first.headers["drover-vm-id"]);
  });

  test("waits no longer than DROVER_GRPC_CREATE_TIMEOUT for a caller without a deadline; the VM is kept", async () => {
    const { status, text, headers, trailers } = await world.client.call("CreateVm");
    const vmId = headers["drover-vm-id"] ?? "";
    expect([status, trailers["drover-vm-id"]]).toEqual(["DEADLINE_EXCEEDED", vmId]);
    expect(text).toMatch(
      new RegExp(`^VM ${vmId} did not run within .*no host has had a free place.*it is kept.*drover rm`),
    );
    expect(await record(vmId)).toMatchObject({ state: "queued", owner: "local" });
    await removeAt(vmId);
  });

  test("answers before the caller's own deadline, so that its text arrives", async () => {
    const { status, text, headers } = await world.client.call("CreateVm", {}, { deadlineMs: 800 });
    expect([status, text]).toEqual(["DEADLINE_EXCEEDED", expect.stringContaining(headers["drover-vm-id"] ?? "?")]);
    await removeAt(headers["drover-vm-id"]);
  });

  test("keeps the VM of a caller that hangs up", async () => {
    const call = world.client.start("CreateVm", {}, { deadlineMs: 20_000 });
    const vmId = (await call.headers)["drover-vm-id"];
    call.cancel();
    expect(await call.ended).toMatchObject({ status: "CANCELLED" });
    const launched = await host.take();
    expect(launched.job.vmId).toBe(vmId);
    await host.run(launched);
    expect(await record(vmId)).toMatchObject({ state: "running", owner: "local" });
    await host.complete(launched);
  });

  test("tells why a VM failed before it ran, and the way out", async () => {
    const call = world.client.start("CreateVm", {}, { deadlineMs: 20_000 });
    await call.headers;
    const launched = await host.take();
    await host.fail(launched, { message: "Kernel panic - not syncing" });
    const { status, text, trailers } = await call.ended;
    expect([status, text]).toEqual(["FAILED_PRECONDITION", expect.stringContaining("guest_panic: Kernel panic")]);
    expect(text).toContain(launched.job.vmId);
    expect(text).toContain("Look at the console tail");
    expect(trailers).toMatchObject({ "drover-cause": "guest_panic", "drover-state": "failed" });
  });

  test("tells that a VM was removed while it waited", async () => {
    const call = world.client.start("CreateVm", {}, { deadlineMs: 20_000 });
    const vmId = (await call.headers)["drover-vm-id"];
    await removeAt(vmId);
    expect(await call.ended).toMatchObject({
      status: "FAILED_PRECONDITION",
      text: expect.stringContaining("is removed"),
    });
  });

  test("takes a VM that ended at once for one that ran", async () => {
    const call = world.client.start("CreateVm", {}, { deadlineMs: 20_000 });
    await call.headers;
    const launched = await host.take();
    const { port } = launched;
    const { vmId, epoch } = launched.job;
    const launch = { epoch, host: "host-a", port, startedAtMs: 1, endedAtMs: 2, cause: null };
    await world.http.redis.hset(world.http.keys.record(vmId), "launches", JSON.stringify([launch]));
    await host.run(launched);
    await host.complete(launched);
    expect(await call.ended).toMatchObject({ status: "OK", message: { forwardedPort: String(port) } });
  });
});

describe("RemoveVm", () => {
  test("answers when the VM is gone; twice is no error", async () => {
    const call = world.client.start("CreateVm", {}, { deadlineMs: 20_000 });
    const vmId = (await call.headers)["drover-vm-id"];
    const launched = await host.take();
    await host.run(launched);
    const removal = world.client.start("RemoveVm", { cvmId: vmId });
    let isOver = false;
    void removal.ended.then(() => {
      isOver = true;
    });
    await waitFor(async () => (await record(vmId))?.removal !== undefined);
    expect(isOver, "it runs still").toBe(false);
    await host.complete(launched);
    expect(await removal.ended).toMatchObject({ status: "OK" });
    await removeAt(vmId);
  });

  test("tells that the removal goes on when the caller's time is over", async () => {
    const call = world.client.start("CreateVm", {}, { deadlineMs: 20_000 });
    const vmId = (await call.headers)["drover-vm-id"];
    const launched = await host.take();
    await host.run(launched);
    const { status, text } = await world.client.call("RemoveVm", { cvmId: vmId }, { deadlineMs: 800 });
    expect([status, text]).toEqual(["DEADLINE_EXCEEDED", expect.stringMatching(/was asked for and goes on.* on host/)]);
    await host.complete(launched);
  });

  test.each(["0b6f5f1e-8f9c-4a59-9d3e-1c7f2f2b7c11", "not-an-id", "", "../../etc"])(
    "says of the unknown id %o what Cocos says, with the way out",
    async (cvmId) => {
      const { status, text } = await world.client.call("RemoveVm", { cvmId });
      expect([status, text]).toEqual(["NOT_FOUND", expect.stringMatching(/^entity not found: .*`drover ls`/)]);
    },
  );
});

describe("AttestationPolicy", () => {
  test("says of an unknown id what Cocos says, and of a plain VM why it has none", async () => {
    expect(await world.client.call("AttestationPolicy", { id: "nobody" })).toMatchObject({
      status: "NOT_FOUND",
      text: expect.stringMatching(/^computationId nobody not found/),
    });
    const { headers } = await world.client.call("CreateVm");
    expect(await world.client.call("AttestationPolicy", { id: headers["drover-vm-id"] })).toMatchObject({
      status: "FAILED_PRECONDITION",
      text: expect.stringContaining("has no attestation policy"),
    });
    await removeAt(headers["drover-vm-id"]);
  });
});
