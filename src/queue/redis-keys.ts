/**
 * Every Redis key and queue name of drover is built here and nowhere else. All share one hash tag (the prefix has
 * braces), so that scripts may touch several keys on a cluster too. BullMQ's own keys are `<prefix>:<queue>:...`; its
 * queues are named `vm.<pool>` and `vm-remove.<host>`, which no key below can collide with.
 */
export interface RedisKeys {
  readonly prefix: string;
  /** Hash: the VM record. */
  record(vmId: string): string;
  /** Hash: last lines of console and QEMU output of an ended VM; what is kept of its failed launches, until it is purged. */
  tail(vmId: string): string;
  /** Hash: the bounded window of a live console. */
  console(vmId: string): string;
  /** String: the sealed secrets. */
  box(vmId: string): string;
  /** String: the removal mark, or the tombstone of a purged record. */
  mark(vmId: string): string;
  idempotency(owner: string, key: string): string;
  /** Stream of all events. */
  readonly events: string;
  /** Sorted sets of vmIds by creation time. */
  readonly allVms: string;
  ownedVms(owner: string): string;
  stateVms(state: string): string;
  /** Scripts append a state's name; the keys share the hash slot by the prefix. */
  readonly statePrefix: string;
  /** Set: groups `<cause>@<host>` of failed launches, everybody's or an owner's. Written as `include/failures.lua` does. */
  failureGroups(owner?: string): string;
  /** Sorted set of the vmIds of a group, by the time of the failure. */
  failureGroup(group: string, kind: "vms" | "sealed" | "again", owner?: string): string;
  /** Sorted set: accepted VMs whose job is not surely in BullMQ yet, by time of accept. */
  readonly pendingJobs: string;
  /** Sorted set of `q:<vmId>` (queue timeout) and `t:<vmId>` (TTL), by deadline. */
  readonly deadlines: string;
  /** Sorted set of ended VMs, by the time from which their records may be purged. */
  readonly expiry: string;
  /** Hash: virtual clock and finish tags of fair queueing in a pool. */
  fairness(pool: string): string;
  /** Hash of held ports of a machine, by its boot id: `p:<port>` and `v:<vmId>`. */
  ports(bootId: string): string;
  /** Sorted set: when each port was last given back. */
  portsLru(bootId: string): string;
  /** Sorted set: ports set aside because a foreign process holds them, by when that ends. */
  portsAside(bootId: string): string;
  /** Hash: description of a host, and what an operator wants of it. */
  host(hostId: string): string;
  /** String: the host's proof of life. */
  lease(hostId: string): string;
  /** Sorted set: somebody has told the host that a queue has come which it may not look at yet. */
  bell(hostId: string): string;
  /** Set of pools that ever had a VM; those with a memory class or labels go with their last job. */
  readonly pools: string;
  /** Set of hosts that ever registered, for the dashboard's remove queues. */
  readonly hosts: string;
  /** Hash: which life of the data this is. */
  readonly generation: string;
  /** String: a login of a browser, by the SHA-256 of its cookie's value. */
  session(digest: string): string;
  /** Hash: tokens and roles of certificates by their public id, without what is secret. */
  readonly tokens: string;
  /** Hash: when each of them was last used (Unix ms), about. */
  readonly tokensUsed: string;
  /** Hash: a batch, its defaults, its bounds and its counters. */
  batch(batchId: string): string;
  /** A part of a batch: `items`, `boxes`, `states`, `ends`, `pace` (lua/include/batch.lua says what they hold). */
  batchPart(batchId: string, part: "items" | "boxes" | "states" | "ends" | "pace"): string;
  /** String: the batch is deleted; the idempotency key that made it makes no second one. */
  batchTombstone(batchId: string): string;
  /** Hash: what is staged of a batch that is being uploaded. */
  batchUpload(uploadId: string, part: "items" | "boxes"): string;
  /** Sorted set: all batches, by time of accept. */
  readonly batches: string;
  ownedBatches(owner: string): string;
  /** Set: batches that have not ended. */
  readonly openBatches: string;
  /** Sorted set: batches that have, by when. */
  readonly endedBatches: string;
  /** Sorted sets: batches that have something to do now, by when that began; feeders pop from them. */
  readonly dueBatches: string;
  /** Those whose VMs can only be made with the key of their shared secrets. */
  readonly dueSealedBatches: string;
  /** A key of a BullMQ queue: `wait`, `active`, `marker`, ... or a job's id. */
  bull(queueName: string, part: string): string;
}

export function redisKeys(prefix: string): RedisKeys {
  const key = (...parts: string[]) => [prefix, ...parts].join(":");
  return {
    prefix,
    record: (vmId) => key("record", vmId),
    tail: (vmId) => key("tail", vmId),
    console: (vmId) => key("console", vmId),
    box: (vmId) => key("box", vmId),
    mark: (vmId) => key("mark", vmId),
    idempotency: (owner, idempotencyKey) => key("idempotency", owner, idempotencyKey),
    events: key("events"),
    allVms: key("vms"),
    ownedVms: (owner) => key("vms", owner),
    stateVms: (state) => key("state", state),
    statePrefix: key("state", ""),
    failureGroups: (owner) => key("state", "failed", "groups", ...(owner === undefined ? [] : [owner])),
    failureGroup: (group, kind, owner) => key("state", "failed", group, kind, ...(owner === undefined ? [] : [owner])),
    pendingJobs: key("pending-jobs"),
    deadlines: key("deadlines"),
    expiry: key("expiry"),
    fairness: (pool) => key("fairness", pool),
    ports: (bootId) => key("ports", bootId),
    portsLru: (bootId) => key("ports-lru", bootId),
    portsAside: (bootId) => key("ports-aside", bootId),
    host: (hostId) => key("host", hostId),
    lease: (hostId) => key("lease", hostId),
    bell: (hostId) => key("bell", hostId),
    pools: key("pools"),
    hosts: key("hosts"),
    generation: key("generation"),
    session: (digest) => key("session", digest),
    tokens: key("tokens"),
    tokensUsed: key("tokens-used"),
    batch: (batchId) => key("batch", batchId),
    batchPart: (batchId, part) => key("batch", batchId, part),
    batchTombstone: (batchId) => key("batch-gone", batchId),
    batchUpload: (uploadId, part) => key("batch-upload", uploadId, part),
    batches: key("batches"),
    ownedBatches: (owner) => key("batches", owner),
    openBatches: key("open-batches"),
    endedBatches: key("ended-batches"),
    dueBatches: key("due-batches"),
    dueSealedBatches: key("due-batches", "sealed"),
    bull: (queueName, part) => key(queueName, part),
  };
}

const POOL_QUEUE = "vm.";
const REMOVE_QUEUE = "vm-remove.";

/** The queue of create jobs of a pool. */
export function poolQueueName(pool: string): string {
  return `${POOL_QUEUE}${pool}`;
}

/** The queue through which a host is told to remove one of its VMs. */
export function removeQueueName(hostId: string): string {
  return `${REMOVE_QUEUE}${hostId}`;
}
