import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HostDetail, HostForgotten, HostList } from "../../../src/contract/host-view.ts";
import { FakeApi, hostDetail } from "./fake-api.ts";
import { type CliSetting, runCli } from "./run-cli.ts";

const VM = "3f2a91c4-1111-4222-8333-444455556666";
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
  const { out, exitCode } = await run(["hosts"]);
  expect(exitCode).toBe(0);
  expect(out.split("\n")).toEqual([
    "HOST    STATUS  VMS  WHEN LOST       VERSION  SINCE  NOTE",
    "host-a  live    3/4  rerun after 5m  1.2.3      62m  takes no VM for 10m",
    "host-b  lost      1  hold            1.2.3       2h",
    "host-c  away    0/4  rerun after 5m  1.2.3      30s  back in 60m",
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
