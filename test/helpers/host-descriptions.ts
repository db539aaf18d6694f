import { HostDescription } from "../../src/queue/host-description.ts";

/** What a worker says of its host; only what a test is about need be given. */
export function hostDescription(over: Partial<HostDescription> = {}): HostDescription {
  return HostDescription.parse({
    v: 1,
    hostId: "host-a",
    stateId: "state",
    bootId: "boot",
    pid: 1,
    version: "1.2.3",
    address: "10.0.0.1",
    pools: ["default"],
    slots: 4,
    ports: { first: 6100, last: 6200 },
    tee: "none",
    accel: "kvm",
    startedAtMs: 1_700_000_000_000,
    policy: { lost: "rerun", lostAfterMs: 60_000, onPartition: "keep" },
    leaseMs: 30_000,
    breaker: null,
    ...over,
  });
}
