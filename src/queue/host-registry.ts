import { z } from "zod";
import { CAUSE_CODES } from "../contract/causes.ts";
import { CvmFacts } from "../contract/cvm-facts.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";

const takeScript = loadScript("lease-take-3");
const leaveScript = loadScript("lease-leave-2");
const forgetScript = loadScript("forget-host-3");

const TakeReply = z.union([z.tuple([z.literal("taken")]), z.tuple([z.literal("held"), z.string(), z.number()])]);
const ForgetReply = z.enum(["alive", "forgotten"]);

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
});
export type HostDescription = z.infer<typeof HostDescription>;

/** Whose a host id is: a state directory in one boot of its machine. */
const LeaseHolder = z.object({ stateId: z.string(), bootId: z.string() });
export type LeaseHolder = z.infer<typeof LeaseHolder>;

export type TakeOutcome =
  | { readonly kind: "taken" }
  | { readonly kind: "held"; readonly by: LeaseHolder; readonly leftMs: number };

/** All that Redis knows of a host. Times are by Redis's clock. */
export interface KnownHost {
  readonly hostId: string;
  /** Undefined when it cannot be read: written by a version that this one does not know. */
  readonly description: HostDescription | undefined;
  readonly lease: (LeaseHolder & { readonly leftMs: number }) | undefined;
  /** Until when it may be away on purpose. */
  readonly awayUntilMs: number | undefined;
  /** When it last said that it lives. */
  readonly seenAtMs: number | undefined;
  readonly nowMs: number;
}

/** The hosts that have a worker, and the leases that say which of them live. */
export class HostRegistry {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { redis: RedisClient; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Takes the host id when it is free or this worker's already, and publishes the description. Ends being away. */
  async take(host: HostDescription, ttlMs: number): Promise<TakeOutcome> {
    return this.#compareAndSet(host, ttlMs, false);
  }

  /** As `take` for a worker that has the lease, or had it: one that Redis lost is there again. */
  async renew(host: HostDescription, ttlMs: number): Promise<TakeOutcome> {
    return this.#compareAndSet(host, ttlMs, true);
  }

  /** Gives up the lease at a stop that leaves no VM behind. Another's lease is not touched: false. */
  async withdraw(host: HostDescription): Promise<boolean> {
    return this.#leave(host, 0);
  }

  /** Gives up the lease at a stop that leaves VMs running: for `awayMs` nobody takes the host for lost. */
  async goAway(host: HostDescription, awayMs: number): Promise<boolean> {
    return this.#leave(host, Math.max(1, awayMs));
  }

  /** Hosts with a lease that serve the pool. */
  async liveHosts(pool: string): Promise<readonly HostDescription[]> {
    const hosts = await this.hosts();
    return hosts.flatMap(({ description, lease }) =>
      lease !== undefined && description !== undefined && (description.serves ?? description.pools).includes(pool)
        ? [description]
        : [],
    );
  }

  /** Every host that ever came and was not forgotten, in the order of their ids. */
  async hosts(): Promise<readonly KnownHost[]> {
    const hostIds = await this.#redis.smembers(this.#keys.hosts);
    return this.#read(hostIds.sort());
  }

  /** One host, or undefined when it never came or was forgotten. */
  async host(hostId: string): Promise<KnownHost | undefined> {
    if ((await this.#redis.sismember(this.#keys.hosts, hostId)) === 0) return undefined;
    return (await this.#read([hostId]))[0];
  }

  /** Who holds the leases of these hosts; those that have none are not in the map. */
  async leases(hostIds: readonly string[]): Promise<ReadonlyMap<string, LeaseHolder>> {
    const wanted = [...new Set(hostIds)];
    if (wanted.length === 0) return new Map();
    const texts = await this.#redis.mget(wanted.map((hostId) => this.#keys.lease(hostId)));
    return new Map(
      wanted.flatMap((hostId, index) => {
        const holder = readHolder(texts[index]);
        return holder === undefined ? [] : [[hostId, holder] as const];
      }),
    );
  }

  /** Takes a host that has no lease out of the registry. Its VMs must have been taken back before. */
  async remove(hostId: string): Promise<"alive" | "forgotten"> {
    const keys = this.#keys;
    const reply = await forgetScript.run(this.#redis, [keys.lease(hostId), keys.host(hostId), keys.hosts], { hostId });
    return ForgetReply.parse(reply);
  }

  async #compareAndSet(host: HostDescription, ttlMs: number, renews: boolean): Promise<TakeOutcome> {
    const keys = this.#keys;
    const { hostId } = host;
    const reply = await takeScript.run(this.#redis, [keys.lease(hostId), keys.host(hostId), keys.hosts], {
      hostId,
      lease: leaseText(host),
      ttlMs,
      description: JSON.stringify(host),
      renews,
    });
    const [kind, holder, leftMs] = TakeReply.parse(reply);
    if (kind === "taken") return { kind };
    return { kind, by: readHolder(holder) ?? UNKNOWN_HOLDER, leftMs: leftMs ?? 0 };
  }

  async #leave(host: HostDescription, awayMs: number): Promise<boolean> {
    const keys = this.#keys;
    const args = { lease: leaseText(host), awayMs };
    return (await leaveScript.run(this.#redis, [keys.lease(host.hostId), keys.host(host.hostId)], args)) === 1;
  }

  async #read(hostIds: readonly string[]): Promise<readonly KnownHost[]> {
    if (hostIds.length === 0) return [];
    const keys = this.#keys;
    const transaction = this.#redis.multi().time();
    for (const hostId of hostIds) {
      transaction.hmget(keys.host(hostId), "description", "awayUntilMs", "seenAtMs");
      transaction.get(keys.lease(hostId)).pttl(keys.lease(hostId));
    }
    const replies = ((await transaction.exec()) ?? []).map(([error, value]) => {
      if (error !== null) throw error;
      return value;
    });
    const [seconds, micros] = Time.parse(replies[0]);
    const nowMs = seconds * 1000 + Math.floor(micros / 1000);
    return hostIds.map((hostId, index) => {
      const [fields, lease, leftMs] = HostReply.parse(replies.slice(1 + 3 * index, 4 + 3 * index));
      const [description, awayUntilMs, seenAtMs] = fields;
      const holder = readHolder(lease);
      return {
        hostId,
        description: readDescription(description),
        lease: holder === undefined ? undefined : { ...holder, leftMs: Math.max(0, leftMs) },
        awayUntilMs: awayUntilMs === null ? undefined : Number(awayUntilMs),
        seenAtMs: seenAtMs === null ? undefined : Number(seenAtMs),
        nowMs,
      };
    });
  }
}

const Time = z.tuple([z.coerce.number(), z.coerce.number()]);
const HostReply = z.tuple([
  z.tuple([z.string().nullable(), z.string().nullable(), z.string().nullable()]),
  z.string().nullable(),
  z.number(),
]);

/** Stands for whoever wrote a lease that cannot be read: somebody else, in any case. */
const UNKNOWN_HOLDER: LeaseHolder = { stateId: "unknown", bootId: "unknown" };

/** Compared as it stands, so that it must always be written in this order. */
function leaseText({ hostId, stateId, bootId }: HostDescription): string {
  return JSON.stringify({ hostId, stateId, bootId });
}

function readHolder(text: string | null | undefined): LeaseHolder | undefined {
  if (text === null || text === undefined) return undefined;
  return LeaseHolder.safeParse(parseJson(text)).data ?? UNKNOWN_HOLDER;
}

function readDescription(text: string | null): HostDescription | undefined {
  return text === null ? undefined : HostDescription.safeParse(parseJson(text)).data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not ours: the schema says so
  }
}
