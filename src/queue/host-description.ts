import { z } from "zod";
import { CAUSE_CODES } from "../contract/causes.ts";
import { CvmFacts } from "../contract/cvm-facts.ts";
import { HOST_WISHES } from "../contract/host-wish.ts";
import { TEE_NEEDS, type Unmet, unmetNeed } from "../contract/placement.ts";

/** What others do with a host's VMs when it is lost, as the host itself wants it. */
const HostPolicy = z.object({
  lost: z.enum(["rerun", "hold"]),
  lostAfterMs: z.int(),
  onPartition: z.enum(["keep", "stop"]),
});

/** Why a host fetches nothing for a while: its own faults have failed too many launches. */
const HostBreaker = z.object({
  openUntilMs: z.int(),
  failures: z.int(),
  cause: z.object({ code: z.enum(CAUSE_CODES), message: z.string() }).nullable(),
});

/** The machine itself. */
const HostMachine = z.object({
  cpu: z.string().nullable(),
  cores: z.int(),
  kernel: z.string(),
  /** Version of QEMU; null when it cannot be run. */
  qemu: z.string().nullable(),
  bootedAtMs: z.int(),
});

/** What the worker has heard of an operator's wish, and how far it is with it. */
const HeededWish = z.object({
  kind: z.enum(HOST_WISHES),
  /** Since when the wish stands: says which one was heard. */
  atMs: z.int(),
  /** VMs that an evacuation leaves here, because no other live host could take them. */
  held: z.int(),
});

/** What its VMs can be given, beside its pools. */
const HostOfferFields = z.object({
  tee: z.enum(TEE_NEEDS),
  gpu: z.boolean(),
  /** Whether it can hold a VM that names no memory class. */
  ownSize: z.boolean(),
  /** What each class stands for, in bytes. */
  memoryClasses: z.record(z.string(), z.int()),
  labels: z.record(z.string(), z.string()),
});

const HostMemory = z.object({
  totalBytes: z.int(),
  /** What no VM gets. */
  reservedBytes: z.int(),
});

/** What is left for VMs to come. Null: without a limit of its own. */
const HostRoom = z.object({
  slots: z.int().nullable(),
  ports: z.int(),
  teeKeys: z.int().nullable(),
  memoryBytes: z.int().nullable(),
  /** Memory classes of which one more VM fits; the empty one is that of a VM that names none. */
  sizes: z.array(z.string()),
  gpu: z.boolean(),
});
export type HostRoom = z.infer<typeof HostRoom>;

/**
 * What a worker says of its host. Fields that came later are optional: a worker of an earlier version does not write
 * them. Without a policy nobody may touch the VMs of a lost host but an operator.
 */
export const HostDescription = z.object({
  v: z.literal(1),
  hostId: z.string(),
  stateId: z.string(),
  bootId: z.string(),
  pid: z.int(),
  version: z.string(),
  address: z.string(),
  pools: z.array(z.string()),
  /** The pools in whose queues it looks: with what their VMs need, and its own. */
  serves: z.array(z.string()).optional(),
  gpu: z.string().nullable().optional(),
  slots: z.int(),
  ports: z.strictObject({ first: z.int(), last: z.int() }),
  tee: z.string(),
  accel: z.string(),
  cvm: CvmFacts.optional(),
  startedAtMs: z.int(),
  policy: HostPolicy.optional(),
  /** How long the host counts as alive after it last said so. */
  leaseMs: z.int().optional(),
  breaker: HostBreaker.nullable().optional(),
  machine: HostMachine.optional(),
  /** Where the worker's metrics are scraped. */
  metrics: z.string().optional(),
  memory: HostMemory.optional(),
  offer: HostOfferFields.optional(),
  /** As of a second ago or less. */
  room: HostRoom.optional(),
  /** Left out by a worker of a version that does not listen. */
  wish: HeededWish.optional(),
});
export type HostDescription = z.infer<typeof HostDescription>;

/** The first need of a pool's VMs that the host does not meet; undefined: it can run them. */
export function unmetBy(description: HostDescription, pool: string): Unmet | undefined {
  const { hostId, pools, offer } = description;
  // One of an earlier version says which queues it looks in, and knows no others.
  if (offer === undefined) return (description.serves ?? pools).includes(pool) ? undefined : "pool";
  const { tee, gpu, ownSize, memoryClasses, labels } = offer;
  return unmetNeed(
    { hostId, pools, tee, hasGpu: gpu, ownSize, memoryClasses: Object.keys(memoryClasses), labels },
    pool,
  );
}
