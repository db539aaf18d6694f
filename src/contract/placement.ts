/** Technologies that make a VM confidential; `none` as a wish means: never, also where the host has one. */
export const TEE_NEEDS = ["snp", "tdx", "none"] as const;
export type TeeNeed = (typeof TEE_NEEDS)[number];

/** What a request asks of the machine. Left out, a VM takes what its host gives. */
export interface Needs {
  readonly tee?: TeeNeed | undefined;
  readonly gpu?: boolean | undefined;
}

/** What a host can give, in the pools that it serves. */
export interface HostOffer {
  readonly pools: readonly string[];
  readonly hostId: string;
  readonly tee: TeeNeed;
  readonly hasGpu: boolean;
}

/** The pools of a host: those whose VMs ask for its one GPU, and all others. */
export interface ServedPools {
  readonly gpu: readonly string[];
  readonly others: readonly string[];
}

/** Between a pool and what its VMs need; no pool and no host id has it. */
const NEED = "+";

/**
 * The pool of VMs that only this host may run. No request can name it: a pool's name has no `@`.
 * A host's id has letters, digits and `. _ -` only, so the name is fit for a queue.
 */
export function hostPool(hostId: string): string {
  return `@${hostId}`;
}

/**
 * The pool in whose queue a VM waits: the one that was asked for, and behind it what not every host of it has
 * (`default+snp+gpu`, always in this order). What a VM does without, every host can give.
 */
export function placementPool(pool: string, { tee, gpu }: Needs): string {
  const needs = [...(tee === undefined || tee === "none" ? [] : [tee]), ...(gpu === true ? ["gpu"] : [])];
  return [pool, ...needs].join(NEED);
}

/** The pool that was asked for, of one in whose queue a VM waits. */
export function askedPool(pool: string): string {
  return pool.split(NEED, 1)[0] ?? pool;
}

/** Every pool whose VMs the host can run, its own included. */
export function servedPools({ pools, hostId, tee, hasGpu }: HostOffer): ServedPools {
  const asked = [...pools, hostPool(hostId)];
  const tees: readonly TeeNeed[] = tee === "none" ? ["none"] : ["none", tee];
  const withNeeds = (gpu: boolean) =>
    asked.flatMap((pool) => tees.map((kind) => placementPool(pool, { tee: kind, gpu })));
  return { gpu: hasGpu ? withNeeds(true) : [], others: withNeeds(false) };
}
