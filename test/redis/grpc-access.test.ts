import { expect, onTestFinished, test, vi } from "vitest";
import { DroverError } from "../../src/contract/errors.ts";
import { mayAct, type Role } from "../../src/contract/role.ts";
import type { Credentials } from "../../src/producer/access/authenticator.ts";
import { GRPC_RULES } from "../../src/producer/grpc/grpc-rules.ts";
import { managerService } from "../../src/producer/grpc/manager-service.ts";
import type { Principal } from "../../src/producer/principal.ts";
import { Seats } from "../../src/producer/seats.ts";
import type { ManagerMethod } from "../helpers/cocos-client.ts";
import { openGrpcWorld } from "./grpc-world.ts";

const METHODS = Object.keys(managerService) as readonly ManagerMethod[];

/** Tokens of this test: `<owner>.<role>`. */
function whoIs({ bearer }: Credentials): Principal {
  const [, owner, role] = /^(\w+)\.(viewer|submitter|operator)$/.exec(bearer ?? "") ?? [];
  if (owner === undefined) throw new DroverError("unauthenticated", "show a token, or a client certificate");
  return { owner, role: role as Role, via: "token", tokenId: "t1" };
}

const as = (token: string) => ({ metadata: { authorization: `Bearer ${token}` } });

test("every method asks for a token and for the role that its rule names", async () => {
  await using world = await openGrpcWorld({ whoIs });
  const refusals = [{}, as("bad"), as(""), { metadata: { authorization: "Basic red.operator" } }];
  for (const method of METHODS) {
    for (const shown of refusals)
      expect(await world.client.call(method, {}, shown), method).toMatchObject({
        status: "UNAUTHENTICATED",
        text: "show a token, or a client certificate",
      });
    const needed = GRPC_RULES[`/manager.ManagerService/${method}`];
    if (needed === undefined || needed === "public") throw new Error(`${method} is open to everybody`);
    for (const role of ["viewer", "submitter", "operator"] as const) {
      const { status, text } = await world.client.call(method, { ttl: "bad", id: "x" }, as(`red.${role}`));
      if (mayAct(role, needed)) expect(text, `${method} by ${role}`).not.toContain("needs the role");
      else expect([status, text]).toEqual(["FAILED_PRECONDITION", expect.stringContaining(`needs the role ${needed}`)]);
    }
  }
  const refused = world.audited.filter(({ outcome }) => outcome === "unauthenticated" || outcome === "forbidden");
  const looks = [...METHODS].filter((method) => GRPC_RULES[`/manager.ManagerService/${method}`] === "viewer");
  // Who looks and shows nothing leaves no line, as over HTTP; of an empty token grpc-js passes nothing on.
  const shownAtAll = refusals.length - 2;
  const refusedLooks = looks.flatMap(() => Array<string>(shownAtAll).fill("access by undefined: unauthenticated"));
  expect(refused.map(({ action, principal, outcome }) => `${action} by ${principal?.owner}: ${outcome}`)).toEqual([
    ...["vm.submit", "vm.remove"].flatMap((action) => [
      ...refusals.map(() => `${action} by undefined: unauthenticated`),
      `${action} by red: forbidden`,
    ]),
    ...refusedLooks,
  ]);
});

test("another owner's VM does not exist", async () => {
  await using world = await openGrpcWorld({ whoIs });
  const { client, deps } = world;
  const call = client.start("CreateVm", {}, { ...as("red.submitter"), deadlineMs: 20_000 });
  const id = (await call.headers)["drover-vm-id"] ?? "";
  expect((await deps.store.get(id))?.owner).toBe("red");
  const foreign = await client.call("RemoveVm", { cvmId: id }, as("blue.submitter"));
  expect([foreign.status, foreign.text]).toEqual(["NOT_FOUND", expect.stringMatching(/^entity not found/)]);
  expect(await client.call("AttestationPolicy", { id }, as("blue.viewer"))).toMatchObject({ status: "NOT_FOUND" });
  await world.http.redis.hset(world.http.keys.record(id), "host", "host-a");
  await world.addHost({ cvm: { ovmfVersion: "x", cpuNum: 77, cpuType: "x", kernelCmd: "x", eosVersion: "x" } });
  expect((await client.call("CVMInfo", { id }, as("red.viewer"))).message).toMatchObject({ cpuNum: 77 });
  expect((await client.call("CVMInfo", { id }, as("blue.viewer"))).message).toMatchObject({ cpuNum: 4 });
  expect(await client.call("RemoveVm", { cvmId: id }, as("red.submitter"))).toMatchObject({ status: "OK" });
  await call.ended;
});

test("who waits has a seat of its own share, so that nobody keeps all others from waiting", async () => {
  await using world = await openGrpcWorld({ whoIs });
  const taken = vi.spyOn(Seats.prototype, "take");
  onTestFinished(() => taken.mockRestore());
  await world.client.call("CreateVm", { ttl: "bad" }, as("red.submitter"));
  await world.client.call("RemoveVm", { cvmId: "x" }, as("blue.submitter"));
  expect(taken.mock.calls.map(([holder]) => holder?.owner)).toEqual(["red", "blue"]);
});

test("on loopback everybody is the operator until there is a token; from then on one must be shown", async () => {
  await using world = await openGrpcWorld();
  const { client, deps } = world;
  expect(await client.call("CVMInfo")).toMatchObject({ status: "OK" });
  const added = { owner: "red", role: "submitter", label: "", createdBy: "test", expiresAtMs: undefined } as const;
  const { text } = await deps.tokens.add(added);
  await using other = await openGrpcWorld({ env: { DROVER_REDIS_PREFIX: deps.config.redis.prefix } });
  const nobody = await other.client.call("CVMInfo");
  expect([nobody.status, nobody.text]).toEqual([
    "UNAUTHENTICATED",
    expect.stringMatching(/client certificate.*`drover token add`.*DROVER_GRPC_ANONYMOUS/),
  ]);
  expect(await other.client.call("CVMInfo", {}, as(text))).toMatchObject({ status: "OK" });
  expect(await other.client.call("CVMInfo", {}, as(`${text}x`))).toMatchObject({ status: "UNAUTHENTICATED" });
  const call = other.client.start("CreateVm", {}, { ...as(text), deadlineMs: 20_000 });
  const vmId = (await call.headers)["drover-vm-id"] ?? "";
  expect((await other.deps.store.get(vmId))?.owner).toBe("red");
  call.cancel();
});

test.each(["x-forwarded-for", "x-real-ip", "forwarded", "via"])(
  "who comes through a proxy (%s) is not the local operator",
  async (header) => {
    await using world = await openGrpcWorld();
    const called = await world.client.call("RemoveVm", { cvmId: "x" }, { metadata: { [header]: "203.0.113.9" } });
    expect(called).toMatchObject({ status: "UNAUTHENTICATED" });
  },
);

test("DROVER_GRPC_ANONYMOUS=submitter lets clients in that can show nothing", async () => {
  await using world = await openGrpcWorld({
    env: { DROVER_AUTH_REQUIRED: "true", DROVER_GRPC_ANONYMOUS: "submitter" },
  });
  const call = world.client.start("CreateVm", {}, { deadlineMs: 20_000 });
  const vmId = (await call.headers)["drover-vm-id"] ?? "";
  expect((await world.deps.store.get(vmId))?.owner).toBe("anonymous");
  expect(await world.client.call("RemoveVm", { cvmId: vmId })).toMatchObject({ status: "OK" });
  await call.ended;
});
