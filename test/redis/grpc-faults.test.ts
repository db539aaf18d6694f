import { type AddressInfo, createServer } from "node:net";
import { pino } from "pino";
import { afterEach, beforeEach, expect, inject, test, vi } from "vitest";
import { LOCAL_OPERATOR } from "../../src/producer/principal.ts";
import { startApi } from "../../src/producer/start-api.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type GrpcWorld, openGrpcWorld } from "./grpc-world.ts";
import { testConfig } from "./http-world.ts";

const away = () => Promise.reject(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }));

let world: GrpcWorld;
const log: string[] = [];
beforeEach(async () => {
  log.length = 0;
  world = await openGrpcWorld({ log, whoIs: () => LOCAL_OPERATOR, env: { DROVER_GRPC_ON_CANCEL: "remove" } });
});
afterEach(() => world[Symbol.asyncDispose]());

test("while Redis is away calls are answered at once, with a status that passes by waiting", async () => {
  await world.deps.gate.run(away).catch(() => undefined);
  for (const [method, request] of [
    ["CreateVm", {}],
    ["RemoveVm", { cvmId: "0b6f5f1e-8f9c-4a59-9d3e-1c7f2f2b7c11" }],
  ] as const)
    expect(await world.client.call(method, request)).toMatchObject({
      status: "RESOURCE_EXHAUSTED",
      text: expect.stringContaining("Redis does not answer"),
      trailers: { "drover-code": "redis_unavailable" },
    });
  expect(await world.client.call("CVMInfo"), "its own configuration needs no Redis").toMatchObject({ status: "OK" });
});

test("a VM that Redis has accepted without an answer is named, and removed where nobody waits for it", async () => {
  const { store } = world.deps;
  const accept = store.accept.bind(store);
  vi.spyOn(store, "accept").mockImplementationOnce(async (input) => {
    await accept(input);
    return away();
  });
  const { status, text } = await world.client.call("CreateVm");
  expect([status, text]).toEqual(["RESOURCE_EXHAUSTED", expect.stringContaining("which will be removed")]);
  const [vmId = ""] = /[0-9a-f-]{36}/.exec(text) ?? [];
  await waitFor(async () => (await store.get(vmId))?.state === "removed", { what: "the removal, once Redis is back" });
});

test("while Redis stays away a removal is not tried, noted and logged again and again", async () => {
  const { store, gate } = world.deps;
  const accept = store.accept.bind(store);
  vi.spyOn(store, "accept").mockImplementationOnce(async (input) => {
    await accept(input);
    return away();
  });
  const check = vi.spyOn(gate, "check").mockImplementation(away);
  const { text } = await world.client.call("CreateVm");
  const [vmId = ""] = /[0-9a-f-]{36}/.exec(text) ?? [];
  await waitFor(() => check.mock.calls.length >= 3, { what: "three looks" });
  expect(world.audited.filter(({ action }) => action === "vm.remove")).toHaveLength(1);
  check.mockRestore();
  await waitFor(async () => (await store.get(vmId))?.state === "removed", { what: "the removal, once Redis is back" });
  expect(world.audited.at(-1)).toMatchObject({ action: "vm.remove", target: vmId, outcome: "ok" });
});

test("a VM whose removal could not be asked for before the server stops is kept, and the log says so", async () => {
  const { store, gate } = world.deps;
  vi.spyOn(store, "accept").mockImplementationOnce(away);
  vi.spyOn(gate, "check").mockImplementation(away);
  const { text } = await world.client.call("CreateVm");
  await world.grpc.close();
  const [vmId = "?"] = /[0-9a-f-]{36}/.exec(text) ?? [];
  expect(log.filter((line) => line.includes(vmId) && line.includes("is kept"))).toHaveLength(1);
});

test.each([
  ["is away before it was asked", away],
  ["refuses", () => Promise.reject(new Error("OOM command not allowed when used memory > 'maxmemory'."))],
])("while Redis %s there is no VM to be named, and none to be removed", async (what, fault) => {
  await using any = await openGrpcWorld({
    whoIs: () => LOCAL_OPERATOR,
    env: { DROVER_GRPC_ON_CANCEL: "remove", DROVER_GRPC_PLACE: "any" },
  });
  if (what === "refuses") vi.spyOn(any.deps.store, "accept").mockImplementationOnce(fault);
  else await any.deps.gate.run(fault).catch(() => undefined);
  const { status, text } = await any.client.call("CreateVm");
  expect(status).toBe("RESOURCE_EXHAUSTED");
  expect(text).not.toMatch(/If this one was|will be removed/);
  expect(any.audited.map(({ action }) => action)).toEqual(["vm.submit"]);
});

test("of a defect the caller learns nothing but the id under which the log says more", async () => {
  vi.spyOn(world.deps.store, "accept").mockRejectedValueOnce(new TypeError("canary at /etc/drover"));
  const { status, text, trailers } = await world.client.call("CreateVm");
  const requestId = trailers["drover-request-id"] ?? "?";
  expect([status, text]).toEqual(["INTERNAL", expect.stringMatching(new RegExp(`request id ${requestId}$`))]);
  const lines = log.filter((line) => line.includes(requestId));
  expect(lines.join("")).toContain("canary at /etc/drover");
  expect(world.audited.at(-1)).toMatchObject({ action: "vm.submit", outcome: "internal_error" });
});

test("the log has one line for each call, with nothing of its message or metadata", async () => {
  const metadata = { authorization: "Bearer canary-bearer", "drover-name": "canary-name" };
  await world.client.call("CreateVm", { ttl: "bad", agentCertsToken: "canary-token" }, { metadata });
  const lines = log.filter((line) => line.includes("/manager.ManagerService/CreateVm"));
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    expect.objectContaining({
      method: "/manager.ManagerService/CreateVm",
      status: "INVALID_ARGUMENT",
      from: "127.0.0.1",
    }),
  ]);
  expect(log.join("")).not.toContain("canary");
});

test("a port that is taken ends the start with the system's error, and leaves no listener behind", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address() as AddressInfo;
  const free = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => free.once("listening", resolve));
  const { port: httpPort } = free.address() as AddressInfo;
  await new Promise((resolve) => free.close(resolve));
  const env = { MANAGER_GRPC_PORT: String(port), MANAGER_HTTP_PORT: String(httpPort) };
  const config = testConfig({ url: inject("redisUrl"), prefix: "{test-grpc-port}", env });
  const starting = startApi({ config, logger: pino({ level: "silent" }) });
  await expect(starting).rejects.toMatchObject({ code: "EADDRINUSE", port });
  await expect(fetch(`http://127.0.0.1:${httpPort}/health`), "HTTP is closed again").rejects.toThrow();
  taken.close();
});
