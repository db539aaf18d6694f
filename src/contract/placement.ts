import { z } from "zod";
import { HOST_LABEL_MAX_CHARS, MEMORY_CLASS_MAX_CHARS, NEEDED_LABELS_MAX } from "./limits.ts";

/** Technologies that make a VM confidential; `none` as a wish means: never, also where the host has one. */
export const TEE_NEEDS = ["snp", "tdx", "none"] as const;
export type TeeNeed = (typeof TEE_NEEDS)[number];

/** Name of a size of memory. */
export const MemoryClass = z
  .string()
  .max(MEMORY_CLASS_MAX_CHARS)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, "a memory class has lower-case letters, digits and inner dashes");

/** A label of a host: its name, and what it may be. Both stand in names of queues. */
export const HostLabelName = z
  .string()
  .max(HOST_LABEL_MAX_CHARS)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, "the name of a host label has lower-case letters, digits and inner dashes");
export const HostLabelValue = z
  .string()
  .max(HOST_LABEL_MAX_CHARS)
  .regex(
    /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/,
    "the value of a host label has letters, digits and . _ - inside",
  );

/** Labels that the host of a VM must have, all of them. */
export const HostLabels = z
  .record(HostLabelName, HostLabelValue)
  .refine((labels) => Object.keys(labels).length <= NEEDED_LABELS_MAX, `at most ${NEEDED_LABELS_MAX} host labels`);
export type HostLabels = Readonly<Record<string, string>>;

/** What a request asks of the machine. Left out, a VM takes what its host gives. */
export interface Needs {
  readonly tee?: TeeNeed | undefined;
  readonly gpu?: boolean | undefined;
  readonly memoryClass?: string | undefined;
  readonly hostLabels?: HostLabels | undefined;
}

/** What a host can give, in the pools that it serves. */
export interface HostOffer {
  readonly pools: readonly string[];
  readonly hostId: string;
  readonly tee: TeeNeed;
  readonly hasGpu: boolean;
  /** Whether it can hold a VM that names no memory class. */
  readonly ownSize: boolean;
  readonly memoryClasses: readonly string[];
  readonly labels: HostLabels;
}

/** A pool in whose queue VMs wait, taken apart. */
export interface PlacementPool {
  /** The pool that was asked for. */
  readonly asked: string;
  readonly tee: Exclude<TeeNeed, "none"> | undefined;
  readonly gpu: boolean;
  readonly memoryClass: string | undefined;
  readonly hostLabels: HostLabels;
}

/** Pools of a host: those whose VMs ask for its one GPU, and all others. */
export interface ServedPools {
  readonly gpu: readonly string[];
  readonly others: readonly string[];
}

/** Between a pool and what its VMs need; no pool and no host id has it. */
const NEED = "+";
const GPU = "gpu";
/** Before the name of a memory class; the other needs have no dot before their `=`. */
const MEMORY = "mem.";
const EQUALS = "=";

/**
 * The pool of VMs that only this host may run. No request can name it: a pool's name has no `@`.
 * A host's id has letters, digits and `. _ -` only, so the name is fit for a queue.
 */
export function hostPool(hostId: string): string {
  return `@${hostId}`;
}

/**
 * The pool in whose queue a VM waits: the one that was asked for, and behind it what not every host of it has
 * (`default+snp+gpu+mem.large+zone=a`, always in this order, labels by their names). What a VM does without, every host
 * can give.
 */
export function placementPool(pool: string, { tee, gpu, memoryClass, hostLabels = {} }: Needs): string {
  const labels = Object.keys(hostLabels).sort();
  const needs = [
    ...(tee === undefined || tee === "none" ? [] : [tee]),
    ...(gpu === true ? [GPU] : []),
    ...(memoryClass === undefined ? [] : [`${MEMORY}${memoryClass}`]),
    ...labels.map((name) => `${name}${EQUALS}${hostLabels[name]}`),
  ];
  return [pool, ...needs].join(NEED);
}

/** Takes the name apart; undefined where this version does not know a need of it. */
export function parsePlacementPool(name: string): PlacementPool | undefined {
  const [asked = "", ...needs] = name.split(NEED);
  let tee: PlacementPool["tee"];
  let gpu = false;
  let memoryClass: string | undefined;
  const hostLabels: Record<string, string> = {};
  for (const need of needs) {
    const equals = need.indexOf(EQUALS);
    if (equals > 0) hostLabels[need.slice(0, equals)] = need.slice(equals + 1);
    else if (need === "snp" || need === "tdx") tee = need;
    else if (need === GPU) gpu = true;
    else if (need.startsWith(MEMORY)) memoryClass = need.slice(MEMORY.length);
    else return undefined;
  }
  return { asked, tee, gpu, memoryClass, hostLabels };
}

/** The pool that was asked for, of one in whose queue a VM waits. */
export function askedPool(pool: string): string {
  return pool.split(NEED, 1)[0] ?? pool;
}

/**
 * Whether the pool's VMs ask for a memory class or for labels: of these there are as many as people think of. Such a
 * queue is found when its first VM comes, and goes when it is empty.
 */
export function isBespoke(pool: string): boolean {
  return pool.includes(`${NEED}${MEMORY}`) || pool.includes(EQUALS);
}

/** What keeps a host from ever running the VMs of a pool. `unknown`: a newer version has named the pool. */
export type Unmet = "pool" | "tee" | "gpu" | "memory" | "memory_class" | "host_labels" | "unknown";

/** The first need of a pool's VMs that the host does not meet; undefined: it can run them. */
export function unmetNeed(offer: HostOffer, pool: string): Unmet | undefined {
  const wanted = parsePlacementPool(pool);
  if (wanted === undefined) return "unknown";
  const { asked, tee, gpu, memoryClass, hostLabels } = wanted;
  if (!offer.pools.includes(asked) && asked !== hostPool(offer.hostId)) return "pool";
  if (tee !== undefined && tee !== offer.tee) return "tee";
  if (gpu && !offer.hasGpu) return "gpu";
  if (memoryClass === undefined && !offer.ownSize) return "memory";
  if (memoryClass !== undefined && !offer.memoryClasses.includes(memoryClass)) return "memory_class";
  const hasLabels = Object.entries(hostLabels).every(([name, value]) => offer.labels[name] === value);
  return hasLabels ? undefined : "host_labels";
}

/** Whether a host with this offer meets all needs of a pool's VMs. */
export function canServe(offer: HostOffer, pool: string): boolean {
  return unmetNeed(offer, pool) === undefined;
}

/**
 * The pools that a host looks at from its start on, its own included: all that it can run of VMs that ask for no memory
 * class and no label.
 */
export function servedPools({
  pools,
  hostId,
  tee,
  hasGpu,
}: Pick<HostOffer, "pools" | "hostId" | "tee" | "hasGpu">): ServedPools {
  const asked = [...pools, hostPool(hostId)];
  const tees: readonly TeeNeed[] = tee === "none" ? ["none"] : ["none", tee];
  const withNeeds = (gpu: boolean) =>
    asked.flatMap((pool) => tees.map((kind) => placementPool(pool, { tee: kind, gpu })));
  return { gpu: hasGpu ? withNeeds(true) : [], others: withNeeds(false) };
}
