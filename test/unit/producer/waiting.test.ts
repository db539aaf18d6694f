import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { placementPool } from "../../../src/contract/placement.ts";
import { WAITING_REASONS, type WaitingReason } from "../../../src/contract/waiting.ts";
import { hostsThatFit } from "../../../src/producer/host-fit.ts";
import { whyWaiting } from "../../../src/producer/waiting.ts";
import type { HostDescription, HostRoom } from "../../../src/queue/host-description.ts";
import type { KnownHost } from "../../../src/queue/host-registry.ts";
import type { QueuePlace } from "../../../src/queue/queue-place.ts";
import { hostDescription } from "../../helpers/host-descriptions.ts";

const NOW = 1_700_000_000_000;
const LATER = NOW + 60_000;
const ROOM: HostRoom = { slots: 3, ports: 90, teeKeys: null, memoryBytes: 2 ** 34, sizes: ["", "small"], gpu: true };
const OFFER: HostDescription["offer"] = {
  tee: "none",
  gpu: true,
  ownSize: true,
  memoryClasses: { small: 2 ** 30, large: 2 ** 34 },
  labels: { zone: "a" },
};
const NEXT: QueuePlace = { kind: "queued", ahead: 0, paused: false };

function host(over: Partial<HostDescription> = {}, known: Partial<KnownHost> = {}): KnownHost {
  const description = hostDescription({ offer: OFFER, room: ROOM, ...over });
  const { hostId, stateId, bootId } = description;
  const lease = { stateId, bootId, leftMs: 20_000 };
  const rest = { awayUntilMs: undefined, seenAtMs: NOW, leftAtMs: undefined, wish: undefined, nowMs: NOW };
  return { hostId, description, lease, ...rest, ...known };
}

const room = (over: Partial<HostRoom>): KnownHost => host({ room: { ...ROOM, ...over } });
const silent = host({}, { lease: undefined });
const cordoned = host({}, { wish: { kind: "cordoned", by: "me", note: null, timeoutMs: null, atMs: 1 } });
const resting = host({ breaker: { openUntilMs: LATER, failures: 3, cause: null } });
const full = room({ slots: 0 });

interface Case {
  readonly pool?: string;
  readonly place?: QueuePlace;
  readonly hosts: readonly KnownHost[];
  readonly avoid?: Record<string, number>;
}

const why = ({ pool = "default", place = NEXT, hosts, avoid }: Case) => whyWaiting({ pool, avoid }, place, hosts);

const CASES: readonly (readonly [string, Case, WaitingReason])[] = [
  [
    "its next try is later",
    { place: { kind: "delayed", untilMs: LATER, paused: false }, hosts: [full] },
    "retry_later",
  ],
  ["its queue is paused", { place: { ...NEXT, paused: true }, hosts: [host()] }, "paused"],
  ["its job is on its way", { place: { kind: "absent", paused: false }, hosts: [] }, "just_accepted"],
  ["nobody is there", { hosts: [] }, "no_live_host"],
  ["whoever could is silent", { hosts: [silent, host({ pools: ["x"] })] }, "no_live_host"],
  ["nobody serves its pool", { pool: "gpu-pool", hosts: [host()] }, "no_host_fits"],
  ["nobody has its label", { pool: "default+zone=b", hosts: [host()] }, "no_host_fits"],
  ["an older worker knows no labels", { pool: "default+zone=a", hosts: [host({ offer: undefined })] }, "no_host_fits"],
  ["its only hosts are cordoned", { hosts: [cordoned] }, "hosts_cordoned"],
  ["its only host rests", { hosts: [resting] }, "breaker_open"],
  ["it avoids its only host", { hosts: [host()], avoid: { "host-a": LATER } }, "avoided"],
  ["no slot is free", { hosts: [full] }, "hosts_full"],
  ["no port is free", { hosts: [room({ ports: 0 })] }, "ports_full"],
  ["the memory is short", { pool: "default+mem.large", hosts: [host()] }, "memory_full"],
  ["no key is left", { hosts: [room({ teeKeys: 0 })] }, "tee_keys_full"],
  ["the GPU is held", { pool: "default+gpu", hosts: [room({ gpu: false })] }, "gpu_busy"],
  ["others come first", { place: { kind: "queued", ahead: 7, paused: false }, hosts: [host()] }, "behind_others"],
  ["it is the next one", { hosts: [host()] }, "starting_soon"],
  ["it was just fetched", { place: { kind: "fetched", paused: false }, hosts: [full] }, "starting_soon"],
  ["an older worker does not say", { hosts: [host({ offer: undefined, room: undefined })] }, "starting_soon"],
];

test.each(CASES)("%s", (_name, story, reason) => {
  expect(why(story)).toMatchObject({ reason, message: expect.stringMatching(/^[A-Z0-9].*\.$/) });
});

test("every reason has its case", () => {
  expect(new Set(CASES.map(([, , reason]) => reason))).toEqual(new Set(Object.keys(WAITING_REASONS)));
});

test("the host that is nearest to taking it says why; the message tells of all, and numbers are of those with room", () => {
  const avoided = host({ hostId: "host-b" });
  const told = why({ hosts: [cordoned, full, avoided, silent], avoid: { "host-b": LATER } });
  expect(told).toMatchObject({ reason: "hosts_full", hostsThatFit: 3, hostsWithRoom: 0, freeSlots: 0, position: 1 });
  expect(told.message).toContain("Of the 3 hosts that could run it: 1 full, 1 avoided");
  const some = why({
    place: { kind: "queued", ahead: 4, paused: false },
    hosts: [full, host(), room({ slots: null })],
  });
  expect(some).toMatchObject({ hostsThatFit: 3, hostsWithRoom: 2, freeSlots: 93, position: 5 });
});

test("it says when what keeps it away ends by itself", () => {
  const sooner = host({ hostId: "host-b", breaker: { openUntilMs: NOW + 5_000, failures: 3, cause: null } });
  expect(why({ hosts: [resting, sooner] }).retryAt).toBe(new Date(NOW + 5_000).toISOString());
  expect(why({ hosts: [full] }).retryAt).toBeNull();
});

test("a breaker that has counted a failure and is closed keeps nobody away", () => {
  const once = host({ breaker: { openUntilMs: NOW, failures: 1, cause: null } });
  expect(why({ hosts: [once] }).reason).toBe("starting_soon");
});

test("what is missing is named, of the hosts of the pool", () => {
  const pool = placementPool("default", { tee: "snp", memoryClass: "huge", hostLabels: { zone: "b" } });
  const missing = (hosts: readonly KnownHost[], wanted = pool) => hostsThatFit(hosts, wanted).warning?.message;
  expect(missing([host(), host({ pools: ["x"] })])).toBe(
    "No live host of the pool default has all that it needs; missing: the TEE snp.",
  );
  expect(missing([host({ offer: { ...OFFER, tee: "snp" } })])).toContain("missing: the memory class huge.");
  expect(missing([host()], "elsewhere")).toBe("No live host serves the pool elsewhere.");
  expect(missing([host()], "@other")).toBe("The host that it is bound to is not live.");
  expect(missing([host({ offer: { ...OFFER, ownSize: false } })], "default")).toContain("memory for one VM");
});

test("docs/placement.md tells of every reason, in the words of the contract", () => {
  const rows = [...readFileSync("docs/placement.md", "utf8").matchAll(/^\| `(\w+)` \| ([A-Z].*) \|$/gm)];
  expect(Object.fromEntries(rows.map(([, reason = "", text]) => [reason, text]))).toEqual(WAITING_REASONS);
});
