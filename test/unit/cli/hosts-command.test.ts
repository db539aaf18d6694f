import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HostDetail, HostForgotten, HostList } from "../../../src/contract/host-view.ts";
import { FakeApi, hostDetail } from "./fake-api.ts";
import { type CliSetting, runCli } from "./run-cli.ts";

const VM = "3f2a91c4-1111-4222-8333-444455556666";
const OPEN = hostDetail().admission;
let api: FakeApi;

beforeEach(async () => {
  api = await FakeApi.start();
});

afterEach(() => api[Symbol.asyncDispose]());

const run = (words: readonly string[], setting: CliSetting = {}) => runCli([...words, "--url", api.url], setting);
const add = (changes: Partial<HostDetail> = {}) => {
  const host = hostDetail(changes);
  api.hosts.set(host.id, host);
  return host;
};

test("hosts gives a table", async () => {
  const cause = { code: "kvm_unavailable", message: "no /dev/kvm" } as const;
  add({ vms: 3, breaker: { openUntil: "2026-11-23T19:12:00.000Z", failures: 5, cause } });
  add({
    id: "host-b",
    status: "lost",
    vms: 1,
    slots: 0,
    policy: { lost: "hold", lostAfterMs: 300_000, onPartition: "keep" },
    silentSince: "2026-11-23T17:00:00.000Z",
    leaseLeftMs: null,
  });
  add({ id: "host-c", status: "away", awayUntil: "2026-11-23T20:02:00.000Z", silentSince: "2026-11-23T19:01:30.000Z" });
  add({ id: "host-d", vms: 2, admission: { ...OPEN, state: "draining", heeded: true, note: "memory errors" } });
  add({
    id: "host-e",
    status: "gone",
    admission: { ...OPEN, state: "cordoned" },
    silentSince: "2026-11-23T19:01:30.000Z",
  });
  const { out, exitCode } = await run(["hosts"]);
  expect(exitCode).toBe(0);
  expect(out.split("\n")).toEqual([
    "HOST    STATUS  VMS  WANTED    WHEN LOST       VERSION  SINCE  NOTE",
    "host-a  live    3/4            rerun after 5m  1.2.3      62m  no VMs for 10m",
    "host-b  lost      1            hold            1.2.3       2h",
    "host-c  away    0/4            rerun after 5m  1.2.3      30s  back in 60m",
    "host-d  live    2/4  draining  rerun after 5m  1.2.3      62m  memory errors",
    "host-e  gone    0/4  cordoned  rerun after 5m  1.2.3      30s",
    "",
  ]);
});

test("hosts with an id shows one with its VMs and the way out when it is gone", async () => {
  add({ status: "silent", vms: 1, vmIds: [VM], silentSince: "2026-11-23T19:01:00.000Z", leaseLeftMs: null });
  const { out } = await run(["hosts", "host-a"]);
  expect(out).toContain("host-a  silent: has not shown that it lives");
  expect(out).toContain("60s ago for the last time");
  expect(out).toContain(VM);
  expect(out).toContain("drover hosts forget host-a");
});

test("hosts get shows what is wanted of a host, its machine and its ports", async () => {
  const said = {
    since: "2026-11-23T18:57:00.000Z",
    by: "ann",
    note: "memory errors",
    evacuatesAt: "2026-11-23T19:27:00.000Z",
  };
  add({ vms: 2, portsTaken: 2, admission: { ...OPEN, ...said, state: "draining" } });
  for (const words of [["get", "host-a"], ["describe", "host-a"], ["host-a"]]) {
    const { out } = await run(["hosts", ...words]);
    const text = out.replace(/\s+/g, " ");
    for (const part of [
      "host-a is draining: 2 VMs left; what is left is evacuated in 25m 0s; said 5m ago by ann: memory errors",
      "6100-6200, 2 taken on this machine",
      "4 slots, 101 ports left",
      "256 GiB, 8 GiB of it kept back, 200 GiB left for VMs",
      "large=64 GiB",
      "zone=a",
      "AMD EPYC 9354, 64 cores",
      "QEMU 10.0.3, kernel 6.12.43, booted 3d ago",
    ])
      expect(text).toContain(part);
    for (const line of out.split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);
  }
});

test("hosts with --json gives what the API says", async () => {
  const host = add();
  expect(HostList.parse(JSON.parse((await run(["hosts", "--json"])).out)).items).toHaveLength(1);
  expect(HostDetail.parse(JSON.parse((await run(["hosts", "host-a", "--json"])).out))).toEqual(host);
});

test("hosts says so when there is none, and ends with 3 for one that nobody has", async () => {
  const none = await run(["hosts"]);
  expect([none.out, none.exitCode]).toEqual(["", 0]);
  expect(none.err).toContain("drover worker");
  const unknown = await run(["hosts", "host-z"]);
  expect(unknown.exitCode).toBe(3);
  expect(unknown.err).toContain("drover hosts");
});

describe("what can be wanted of a host", () => {
  test("is said, answered with one sentence, and told as JSON where that is asked for", async () => {
    add({ vms: 3 });
    expect((await run(["hosts", "cordon", "host-a", "--note", "memory errors"])).out).toBe(
      "host-a takes no new VM; it has 3 VMs\n",
    );
    expect(api.hosts.get("host-a")?.admission).toMatchObject({ state: "cordoned", note: "memory errors" });
    expect((await run(["hosts", "drain", "host-a", "--evacuate-after", "30m"])).out).toBe(
      "host-a is draining: 3 VMs left\n",
    );
    expect(api.seen.at(-1)?.query.get("timeout")).toBe("30m");
    const resumed = await run(["hosts", "resume", "host-a", "--json"]);
    expect(HostDetail.parse(JSON.parse(resumed.out)).admission.state).toBe("open");
    expect((await run(["hosts", "resume", "host-z"])).exitCode).toBe(3);
    expect((await run(["hosts", "drain", "host-a", "--evacuate-after", "soon"])).exitCode).toBe(2);
  });

  test("says when its worker has not heard it, and when it will", async () => {
    const unheard = { ...OPEN, heeded: false };
    add({ admission: unheard });
    expect((await run(["hosts", "cordon", "host-a"])).out).toContain("(its worker has not heard it yet)");
    add({ status: "away", admission: unheard });
    expect((await run(["hosts", "cordon", "host-a"])).out).toContain(
      "(it is away: its worker hears it when it is back)",
    );
  });

  test("evacuating asks first where there are VMs, and needs --yes where nobody is to be asked", async () => {
    add({ vms: 2 });
    const asked = await run(["hosts", "evacuate", "host-a"], { answer: "n" });
    expect([asked.exitCode, api.hosts.get("host-a")?.admission.state]).toEqual([1, "open"]);
    expect(asked.err).toContain("Stop its 2 VMs on host-a");
    expect((await run(["hosts", "evacuate", "host-a"])).exitCode).toBe(2);
    const done = await run(["hosts", "evacuate", "host-a", "--yes"]);
    expect([done.exitCode, done.out]).toEqual([0, "host-a is being evacuated: 2 VMs left\n"]);
    add({ id: "host-b" });
    expect((await run(["hosts", "evacuate", "host-b"])).exitCode, "there is nothing to lose").toBe(0);
  });

  test("--wait says what has changed, and ends when the host has no VM", async () => {
    add({ vms: 2 });
    const looks = [
      { vms: 1, held: 1 },
      { vms: 0, done: true },
    ];
    api.override = ({ method }, _response) => {
      const look = method === "GET" ? looks.shift() : undefined;
      const host = api.hosts.get("host-a");
      if (look === undefined || host === undefined) return undefined;
      const { vms, ...rest } = look;
      add({ ...host, vms, admission: { ...host.admission, ...rest } });
      return undefined;
    };
    const { out, err, exitCode } = await run(["hosts", "evacuate", "host-a", "--yes", "--wait"]);
    expect([exitCode, out]).toEqual([0, "host-a is evacuated: it has no VM\n"]);
    expect(err).toBe(
      "host-a is being evacuated: 2 VMs left\nhost-a is being evacuated: 1 VM left, 1 of which no other live host could take\n",
    );
  });

  test("--wait ends with 1 when somebody wants the host otherwise or it is lost, with 5 when the time is over", async () => {
    add({ vms: 2 });
    api.override = ({ method }) => {
      if (method === "GET") add({ vms: 2, admission: { ...OPEN, by: "bob" } });
      return undefined;
    };
    const resumed = await run(["hosts", "drain", "host-a", "--wait"]);
    expect([resumed.exitCode, resumed.err]).toEqual([1, expect.stringContaining("bob wants host host-a otherwise")]);
    api.override = () => undefined;
    add({ status: "lost", vms: 2 });
    const lost = await run(["hosts", "drain", "host-a", "--wait"]);
    expect([lost.exitCode, lost.err]).toEqual([1, expect.stringContaining("drover hosts forget host-a")]);
    add({ vms: 2 });
    expect((await run(["hosts", "drain", "host-a", "--wait", "--timeout", "50ms"])).exitCode).toBe(5);
  });
});

describe("hosts forget", () => {
  test("asks first and does nothing unless the answer is yes", async () => {
    add({ status: "lost", vms: 1, vmIds: [VM] });
    for (const answer of ["", "n", "no", "what"]) {
      const { err, exitCode } = await run(["hosts", "forget", "host-a"], { answer });
      expect(exitCode, answer).toBe(1);
      expect(err).toContain("[y/N]");
    }
    expect(api.hosts.size).toBe(1);
    const { out, exitCode } = await run(["hosts", "forget", "host-a"], { answer: "Yes" });
    expect([exitCode, api.hosts.size]).toEqual([0, 0]);
    expect(out).toBe(`${VM}  queued\nhost host-a is forgotten\n`);
  });

  test("without a terminal needs --yes", async () => {
    add({ status: "lost", vms: 1, vmIds: [VM] });
    const refused = await run(["hosts", "forget", "host-a"]);
    expect([refused.exitCode, api.hosts.size]).toEqual([2, 1]);
    expect(refused.err).toContain("--yes");
    const { out, exitCode } = await run(["hosts", "forget", "host-a", "--yes", "--json"]);
    expect(exitCode).toBe(0);
    expect(HostForgotten.parse(JSON.parse(out))).toMatchObject({ id: "host-a", requeued: [VM] });
  });

  test("is refused for a host that lives", async () => {
    add();
    const { err, exitCode } = await run(["hosts", "forget", "host-a", "--yes"]);
    expect([exitCode, api.hosts.size]).toEqual([1, 1]);
    expect(err).toContain("lives");
  });

  test("has a help of its own, with the options that all commands take", async () => {
    const { out, exitCode } = await run(["hosts", "forget", "--help"]);
    expect(exitCode).toBe(0);
    for (const part of ["--yes", "--url", "--json", "Examples:"]) expect(out).toContain(part);
    for (const line of out.split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);
    const unknown = await run(["hosts", "forget", "host-a", "--nope"]);
    expect(unknown.exitCode).toBe(2);
    expect(unknown.err).toContain("drover hosts forget --help");
  });
});

test("a VM whose host is unreachable says so in list and description", async () => {
  api.add({ id: VM, state: "running", host: "host-a", hostStatus: "unreachable" });
  expect((await run(["ls"])).out).toContain("host unreachable");
  const running = (await run(["get", VM])).out;
  expect(running).toContain("no sign of life; the VM may well run on");
  const removal = { reason: "requested", by: "local", at: "2026-11-23T19:00:01.000Z" };
  api.change(VM, { state: "stopping", removal });
  expect((await run(["get", VM])).out.replace(/\s+/g, " ")).toContain("removed when the host proves its end");
  api.change(VM, { state: "removed", hostStatus: null, endReason: "requested", unverified: true });
  expect((await run(["get", VM])).out).toContain("requested, not verified: its host was forgotten");
});
