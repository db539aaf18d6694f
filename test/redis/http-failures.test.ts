import { expect, test } from "vitest";
import { FailureList, FailuresDismissed, FailuresRetried } from "../../src/contract/failure-view.ts";
import { ROLES } from "../../src/contract/role.ts";
import { VmDetail } from "../../src/contract/vm-view.ts";
import { openTestHost, type TestHost } from "./http-host.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const GROUP = "guest_panic@host-a";
const OPERATOR = { "x-owner": "ada", "x-role": "operator" };
const RED = { "x-owner": "red", "x-role": "submitter" };
const BLUE = { "x-owner": "blue", "x-role": "submitter" };
type Who = Readonly<Record<string, string>>;

/** Everybody is who they say: what proves it is the matter of other tests. */
const openWorld = () =>
  openHttpWorld({
    identify: ({ headers }) => {
      const role = ROLES.find((one) => one === headers["x-role"]);
      if (role === undefined) throw new Error("no such role");
      return { owner: String(headers["x-owner"]), role, via: "token" };
    },
  });
const ask = (world: HttpWorld, who: Who, url: string, method: "GET" | "POST" = "GET", payload?: object) =>
  world.app.inject({ method, url, headers: who, ...(payload && { payload }) });
const list = async (world: HttpWorld, who: Who, query = "") =>
  FailureList.parse((await ask(world, who, `/v1/failures${query}`)).json()).items;
const act = (world: HttpWorld, who: Who, action: "retry" | "dismiss", query = "") =>
  ask(world, who, `/v1/failures/${encodeURIComponent(GROUP)}/${action}${query}`, "POST");

/** A VM whose launch fails, for good or not. */
async function failing(world: HttpWorld, host: TestHost, who: Who, { payload = {}, again = false } = {}) {
  const vmId: string = (await ask(world, who, "/v1/vms", "POST", payload)).json().id;
  await host.fail(await host.take(), { again });
  return vmId;
}

test("failures are grouped by cause and host; everybody sees their own, an operator all", async () => {
  await using world = await openWorld();
  await using host = openTestHost(world);
  const startedAt = Date.now();
  const red = await failing(world, host, RED);
  const blue = await failing(world, host, BLUE);
  await failing(world, host, BLUE, { again: true });
  const [all, ...others] = await list(world, OPERATOR);
  expect(others).toEqual([]);
  expect(all).toMatchObject({
    id: GROUP,
    cause: "guest_panic",
    host: "host-a",
    fault: "vm",
    action: "Look at the console tail.",
    failed: 2,
    retryable: 2,
    launchedAgain: 1,
    example: { vmId: blue },
  });
  expect(Date.parse(all?.firstAt ?? "")).toBeGreaterThanOrEqual(startedAt - 1_000);
  expect(Date.parse(all?.lastAt ?? "")).toBeGreaterThanOrEqual(Date.parse(all?.firstAt ?? ""));
  expect(await list(world, { ...RED, "x-role": "viewer" })).toMatchObject([
    { failed: 1, launchedAgain: 0, example: { vmId: red } },
  ]);
  expect(await list(world, OPERATOR, "?owner=blue")).toMatchObject([{ failed: 1, launchedAgain: 1 }]);
  expect((await ask(world, RED, "/v1/failures?owner=blue")).json()).toMatchObject({ status: 403, code: "forbidden" });
  for (const query of ["?cause=guest_panic&host=host-a", `?since=${new Date(startedAt - 60_000).toISOString()}`])
    expect(await list(world, OPERATOR, query), query).toMatchObject([{ failed: 2 }]);
  for (const query of ["?cause=qemu_crashed", "?host=host-b", `?since=${new Date(Date.now() + 60_000).toISOString()}`])
    expect(await list(world, OPERATOR, query), query).toEqual([]);
  for (const query of ["?cause=bad_luck", "?since=yesterday"])
    expect((await ask(world, OPERATOR, `/v1/failures${query}`)).statusCode, query).toBe(400);
});

test("a group is retried: one's own VMs only, and what cannot be is named with the reason", async () => {
  await using world = await openWorld();
  await using host = openTestHost(world);
  const sealed = await failing(world, host, RED, { payload: { agentCertsToken: "a-secret-token" } });
  const plain = await failing(world, host, RED);
  const blue = await failing(world, host, BLUE);
  await world.redis.del(world.keys.box(sealed));
  const reply = FailuresRetried.parse((await act(world, RED, "retry")).json());
  expect(reply).toMatchObject({ retried: 1, refused: [{ vmId: sealed, code: "secrets_gone" }], next: null });
  const states = await Promise.all([sealed, plain, blue].map((vmId) => world.deps.store.get(vmId)));
  expect(states.map((record) => record?.state)).toEqual(["failed", "queued", "failed"]);
  expect(await list(world, OPERATOR)).toMatchObject([{ failed: 2 }]);
  const green = { "x-owner": "green", "x-role": "submitter" };
  expect((await act(world, green, "retry")).json()).toMatchObject({ status: 404, code: "failure_group_not_found" });
  expect((await act(world, { ...RED, "x-role": "viewer" }, "retry")).statusCode).toBe(403);
  expect((await act(world, RED, "retry", "?owner=blue")).statusCode).toBe(403);
  expect((await act(world, RED, "retry", "?cursor=zzz")).json()).toMatchObject({ problems: [{ field: "cursor" }] });
});

test("dismissed failures are off the list: one's own only, and until the VM fails anew", async () => {
  await using world = await openWorld();
  await using host = openTestHost(world);
  const red = await failing(world, host, RED);
  const blue = await failing(world, host, BLUE);
  await failing(world, host, BLUE, { again: true });
  expect((await act(world, RED, "dismiss")).json()).toMatchObject({ dismissed: 1 });
  expect(await list(world, OPERATOR)).toMatchObject([{ failed: 1, launchedAgain: 1, example: { vmId: blue } }]);
  const first = FailuresDismissed.parse((await act(world, OPERATOR, "dismiss")).json());
  expect(first.dismissed).toBe(1);
  const second = FailuresDismissed.parse((await act(world, OPERATOR, "dismiss", `?cursor=${first.next}`)).json());
  expect(second).toEqual({ dismissed: 1, next: null });
  expect(await list(world, OPERATOR)).toEqual([]);
  const shown = async (vmId: string) => VmDetail.parse((await ask(world, OPERATOR, `/v1/vms/${vmId}`)).json());
  expect(await shown(red)).toMatchObject({ state: "failed", dismissed: { by: "red" }, forensics: null });
  expect((await ask(world, OPERATOR, `/v1/vms/${blue}/retry`, "POST")).statusCode).toBe(202);
  await host.fail(await host.take());
  expect(await list(world, BLUE)).toMatchObject([{ failed: 1 }]);
  expect(await shown(blue)).toMatchObject({ state: "failed", dismissed: null });
  // A removed VM needs no more attention either.
  await world.app.inject({ method: "DELETE", url: `/v1/vms/${blue}`, headers: OPERATOR });
  expect(await list(world, OPERATOR)).toEqual([]);
});
