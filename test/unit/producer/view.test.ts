import { expect, test } from "vitest";
import { VmRecord } from "../../../src/contract/vm-record.ts";
import { VmView } from "../../../src/contract/vm-view.ts";
import { type LiveOwners, toView } from "../../../src/producer/view.ts";

const FIELDS: Record<string, string> = {
  v: "1",
  vmId: "11111111-1111-4111-8111-111111111111",
  owner: "local",
  pool: "default",
  priority: "normal",
  jobPriority: "1",
  spec: '{"name":"a"}',
  digest: "d",
  attempts: "3",
  hasSecrets: "1",
  state: "queued",
  epoch: "0",
  seq: "1",
  createdAtMs: "1700000000000",
  stateAtMs: "1700000000000",
};

function view(fields: Record<string, string> = {}, owners: LiveOwners | "unknown" = new Map()): VmView {
  return VmView.parse(toView(VmRecord.parse({ ...FIELDS, ...fields }), owners === "unknown" ? undefined : owners));
}

test("a queued VM shows what was asked and null for what is not known yet", () => {
  expect(view()).toMatchObject({
    id: FIELDS["vmId"],
    state: "queued",
    spec: { name: "a" },
    hasSecrets: true,
    attempts: { made: 0, max: 3 },
    createdAt: "2023-11-14T22:13:20.000Z",
    host: null,
    address: null,
    runningAt: null,
    cause: null,
    result: null,
    removal: null,
    launches: [],
  });
});

test("an address is shown while the VM lives and never after its end", () => {
  const living = { state: "running", host: "h", address: "192.0.2.7", port: "6100" };
  expect(view(living).address).toEqual({ host: "192.0.2.7", port: 6100 });
  expect(view({ ...living, state: "failed" }).address).toBeNull();
  expect(view({ state: "preparing", host: "h", port: "6100" }).address, "before the host said where").toBeNull();
});

test("a cause comes with whose fault it is and what can be done", () => {
  const { cause } = view({ state: "failed", cause: '{"code":"kvm_unavailable","message":"no /dev/kvm"}' });
  expect(cause).toMatchObject({ code: "kvm_unavailable", message: "no /dev/kvm", fault: "host" });
  expect(cause?.action).toContain("kvm");
});

test.each([
  ["text", Buffer.from("42 \u00e4\n"), "42 \u00e4\n"],
  ["bytes that are no text", Buffer.from([0xff, 0xfe, 0x00]), null],
  ["nothing", Buffer.alloc(0), ""],
])("a result of %s is shown as base64, and as text where it is some", (_what, bytes, text) => {
  const data = bytes.toString("base64");
  expect(view({ state: "completed", result: JSON.stringify({ exitCode: 0, data }) }).result).toEqual({
    exitCode: 0,
    data,
    text,
  });
});

test("launches, removal and times are shown in ISO time", () => {
  const shown = view({
    state: "failed",
    endedAtMs: "1700000001000",
    deadlineAtMs: "1700000002000",
    removal: '{"reason":"requested","by":"local","atMs":1700000003000}',
    launches: '[{"epoch":1,"host":"h","port":6100,"startedAtMs":1700000000000,"endedAtMs":null,"cause":null}]',
  });
  expect(shown).toMatchObject({
    endedAt: "2023-11-14T22:13:21.000Z",
    expiresAt: "2023-11-14T22:13:22.000Z",
    removal: { reason: "requested", by: "local", at: "2023-11-14T22:13:23.000Z" },
    launches: [{ epoch: 1, host: "h", port: 6100, startedAt: "2023-11-14T22:13:20.000Z", endedAt: null, cause: null }],
  });
});

const HELD = { host: "h", token: "h:state:boot:1" };
const removal = JSON.stringify({ reason: "requested", by: "local", atMs: 1700000003000 });

test.each(["preparing", "starting", "running", "ready", "stopping"])(
  "a VM that is %s says whether the worker that launched it lives",
  (state) => {
    const status = (owners: LiveOwners | "unknown") => view({ ...HELD, state }, owners).hostStatus;
    expect(status(new Map([["h", { stateId: "state" }]]))).toBe("live");
    expect(status(new Map([["h", { stateId: "other" }]]))).toBe("unreachable");
    expect(status(new Map([["g", { stateId: "state" }]]))).toBe("unreachable");
    expect(status("unknown"), "when nobody could be asked").toBeNull();
  },
);

test.each(["queued", "retrying", "completed", "removed", "expired", "failed"])(
  "a VM that is %s is on no host",
  (state) => {
    expect(view({ ...HELD, state }).hostStatus).toBeNull();
  },
);

test("a VM to be removed from an unreachable host is at its end until that is proved", () => {
  expect(view({ ...HELD, state: "running", removal })).toMatchObject({ state: "stopping", hostStatus: "unreachable" });
  expect(view({ ...HELD, state: "running", removal }, new Map([["h", { stateId: "state" }]])).state).toBe("running");
  expect(view({ ...HELD, state: "running", removal }, "unknown").state).toBe("running");
  expect(view({ ...HELD, state: "running" }).state, "it may well run on").toBe("running");
  expect(view({ ...HELD, state: "removed", removal, unverified: "1" })).toMatchObject({
    state: "removed",
    unverified: true,
  });
});
