import { createServer } from "node:net";
import { expect, test } from "vitest";
import type { RedisHealth, RedisServerFacts } from "../../../src/queue/redis-health.ts";
import { hostChecks } from "../../../src/worker/doctor/host-checks.ts";
import { type HostFacts, listeningPorts } from "../../../src/worker/doctor/host-facts.ts";
import { redisChecks } from "../../../src/worker/doctor/redis-checks.ts";

const GIB = 1024 ** 3;

const NO_TEE: HostFacts["tee"] = {
  tee: { kind: "none" },
  kind: "none",
  cpuHas: { snp: false, tdx: false },
  parameters: { sev: undefined, sevEs: undefined, sevSnp: undefined, tdx: undefined },
  sevDeviceErrno: "ENOENT",
  keys: { snp: undefined, tdx: undefined },
  hasVsockLoopback: false,
  qemuObjects: undefined,
  cpuModel: "EPYC",
  usesKvm: true,
  maxVms: 10,
};

const HOST: HostFacts = {
  kvm: { wanted: true, usable: true, errno: undefined, givenUp: undefined },
  tee: NO_TEE,
  gpu: undefined,
  files: [{ path: "/img/bzImage", setBy: "X", errno: undefined }],
  qemu: { version: "7.2.22", problem: undefined, missing: [] },
  qemuImg: { version: "7.2.22", problem: undefined },
  stateDir: {
    path: "/s",
    exists: true,
    mode: 0o700,
    isOurs: true,
    isWritable: true,
    freeBytes: 50 * GIB,
    freeInodes: 1_000_000,
  },
  placement: {
    totalBytes: 32 * GIB,
    reservedBytes: GIB,
    maxVms: 10,
    ownSize: { name: "", bytes: 2 * GIB, holds: 15 },
    classes: [],
    labels: {},
  },
  ports: { total: 101, foreign: [] },
};

function ofHost(over: Partial<HostFacts>): readonly string[] {
  return hostChecks({ ...HOST, ...over })
    .filter(({ status }) => status !== "ok")
    .map(({ id, status, todo }) => `${status} ${id}${todo === undefined ? " without a way out" : ""}`);
}

const dir = (over: Partial<HostFacts["stateDir"]>) => ({ stateDir: { ...HOST.stateDir, ...over } });
const sized = (over: Partial<HostFacts["placement"]>) => ({ placement: { ...HOST.placement, ...over } });
const kvm = (over: Partial<HostFacts["kvm"]>) => ({ kvm: { ...HOST.kvm, ...over } });
const qemu = (over: Partial<HostFacts["qemu"]>) => ({ qemu: { ...HOST.qemu, ...over } });

test.each<[string, Partial<HostFacts>, readonly string[]]>([
  ["a good host", {}, []],
  ["no KVM", kvm({ usable: false, errno: "ENOENT" }), ["problem kvm"]],
  ["no permission for KVM", kvm({ usable: false, errno: "EACCES" }), ["problem kvm"]],
  ["KVM that hangs", kvm({ givenUp: "the demo guest does not boot" }), ["warning kvm"]],
  ["KVM that is not used", kvm({ wanted: false }), ["warning kvm"]],
  ["no KVM, none wanted", kvm({ wanted: false, usable: false, errno: "ENOENT" }), []],
  ["a missing kernel", { files: [{ path: "/x", setBy: "X", errno: "ENOENT" }] }, ["problem boot_files"]],
  ["no QEMU", qemu({ version: undefined, problem: "ENOENT" }), ["problem qemu"]],
  ["a QEMU without 9p", qemu({ missing: ["virtio-9p-pci"] }), ["problem qemu"]],
  ["an old QEMU", qemu({ version: "5.2.0" }), ["warning qemu"]],
  ["a new QEMU", qemu({ version: "10.1" }), []],
  ["no qemu-img", { qemuImg: { version: undefined, problem: "ENOENT" } }, ["problem qemu_img"]],
  ["no qemu-img, none needed", { qemuImg: undefined }, []],
  ["a directory for all", dir({ mode: 0o755 }), ["problem state_dir"]],
  ["another user's directory", dir({ isOurs: false }), ["problem state_dir"]],
  ["a directory that cannot be written", dir({ isWritable: false }), ["problem state_dir"]],
  ["a full disk", dir({ freeBytes: GIB / 10 }), ["problem disk_space"]],
  ["little space", dir({ freeBytes: 2 * GIB }), ["warning disk_space"]],
  ["few inodes", dir({ freeInodes: 12 }), ["warning disk_space"]],
  ["inodes that are not counted", dir({ freeInodes: undefined }), []],
  ["too large a VM", sized({ ownSize: { name: "", bytes: 64 * GIB, holds: 0 } }), ["problem memory"]],
  ["too many VMs", sized({ maxVms: 17 }), ["warning memory"]],
  [
    "too many VMs where memory is not counted",
    sized({ maxVms: 17, ownSize: { name: "", bytes: 2 * GIB, holds: null } }),
    ["warning memory"],
  ],
  ["as many VMs as fit", sized({ maxVms: 0 }), []],
  [
    "a memory class that is too large",
    sized({ classes: [{ name: "huge", bytes: 64 * GIB, holds: 0 }] }),
    ["problem memory_classes"],
  ],
  ["classes and labels", sized({ classes: [{ name: "small", bytes: GIB, holds: 29 }], labels: { zone: "a" } }), []],
  ["some foreign ports", { ports: { total: 101, foreign: [6_100] } }, ["warning ports"]],
  ["nothing but foreign ports", { ports: { total: 1, foreign: [6_100] } }, ["problem ports"]],
])("%s", (_name, over, expected) => {
  expect(ofHost(over)).toEqual(expected);
});

const SERVER: RedisServerFacts = {
  version: "7.0.15",
  role: "master",
  maxmemoryPolicy: "noeviction",
  usedBytes: 100,
  maxBytes: 0,
  aof: true,
  aofWriteFailed: false,
  snapshotFailed: false,
  evictedKeys: 0,
  appendfsync: "everysec",
  cluster: false,
};

test.each<[string, Partial<RedisServerFacts>, Partial<RedisHealth> & { prefix?: string }, readonly string[]]>([
  ["a good Redis", {}, {}, []],
  ["an old one", { version: "6.2.14" }, {}, ["problem redis_version"]],
  ["one that drops keys", { maxmemoryPolicy: "allkeys-lru" }, {}, ["problem redis_policy set_noeviction"]],
  ["one that tells little", { maxmemoryPolicy: undefined, role: undefined, appendfsync: undefined }, {}, []],
  ["a full one", { usedBytes: 95, maxBytes: 100 }, {}, ["warning redis_policy"]],
  ["snapshots only", { aof: false }, {}, ["warning redis_persistence"]],
  ["no fsync", { appendfsync: "no" }, {}, ["warning redis_persistence"]],
  ["a disk that refuses the AOF", { aofWriteFailed: true }, {}, ["problem redis_persistence"]],
  ["a disk that refuses snapshots", { snapshotFailed: true, aof: false }, {}, ["problem redis_persistence"]],
  ["a replica", { role: "slave" }, {}, ["problem redis_role"]],
  ["a cluster", { cluster: true }, {}, []],
  ["a cluster without braces", { cluster: true }, { prefix: "drover" }, ["problem redis_prefix"]],
  ["one far away", {}, { roundTripMs: 80 }, ["warning redis_latency"]],
  ["another time", {}, { clockAheadMs: -2_500 }, ["warning clock"]],
  ["nearly the same time", {}, { clockAheadMs: 1_500 }, []],
])("%s", (_name, server, { prefix = "{drover}", ...over }, expected) => {
  const health = { servers: [{ ...SERVER, ...server }], roundTripMs: 0.3, clockAheadMs: 1, ...over };
  const told = redisChecks(health, { prefix })
    .filter(({ status }) => status !== "ok")
    .map(({ id, status, fix }) => [status, id, ...(fix ? [fix.kind] : [])].join(" "));
  expect(told).toEqual(expected);
});

test("who listens is seen without trying a port", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const range = { first: port, last: port };
  expect(listeningPorts(range, undefined)).toEqual([port]);
  expect(listeningPorts(range, "127.0.0.1")).toEqual([port]);
  expect(listeningPorts(range, "127.0.0.2")).toEqual([]);
  expect(listeningPorts({ first: port + 1, last: port + 1 }, undefined)).not.toContain(port);
  server.close();
});

test.each([
  ["7.0.15", true],
  ["7.2.10", true],
  ["7.2.11", false],
  ["7.4.6", false],
  ["8.0.3", true],
  ["8.2.2", false],
  ["8.4.0", false],
])("the hole in the scripts of Redis %s: %s", (version, isOpen) => {
  const health = { servers: [{ ...SERVER, version }], roundTripMs: 0.3, clockAheadMs: 1 };
  const [check] = redisChecks(health, { prefix: "{drover}" });
  expect(check).toMatchObject({ id: "redis_version", status: "ok" });
  expect(check?.text.includes("CVE-2025-49844")).toBe(isOpen);
});
