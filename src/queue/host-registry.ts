import { z } from "zod";
import type { HostWish, WishInForce } from "../contract/host-wish.ts";
import type { RedisClient } from "./connection.ts";
import { HostDescription, unmetBy } from "./host-description.ts";
import { loadScript } from "./lua-script.ts";
import { readWish } from "./read-wish.ts";
import type { RedisKeys } from "./redis-keys.ts";
import { deleteRemoveQueue } from "./remove-queue.ts";

const takeScript = loadScript("lease-take-3");
const leaveScript = loadScript("lease-leave-2");
const forgetScript = loadScript("forget-host-3");
const forgetGoneScript = loadScript("forget-gone-host-3");
const wishScript = loadScript("host-wish-2");

const TakeReply = z.union([
  z.tuple([z.literal("taken"), z.string(), z.string()]),
  z.tuple([z.literal("held"), z.string(), z.number()]),
]);
const ForgetReply = z.enum(["alive", "forgotten"]);

/** Whose a host id is: a state directory in one boot of its machine. */
const LeaseHolder = z.object({ stateId: z.string(), bootId: z.string() });
export type LeaseHolder = z.infer<typeof LeaseHolder>;

export type TakeOutcome =
  /** `wish` is what an operator wants of the host; undefined: nobody has said anything. */
  | { readonly kind: "taken"; readonly wish?: WishInForce | undefined }
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
  /** When it left without a VM; undefined once it is back. */
  readonly leftAtMs: number | undefined;
  /** What an operator wants of it; undefined: nobody has said anything. */
  readonly wish: WishInForce | undefined;
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
      lease !== undefined && description !== undefined && unmetBy(description, pool) === undefined ? [description] : [],
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

  /**
   * Writes down what an operator wants of a host, beside what the host says of itself. It stands until something else is
   * wanted, or the host is forgotten; the same again keeps the time of the first. False: there is no such host.
   */
  async wish(hostId: string, { kind, by, note, timeoutMs }: HostWish): Promise<boolean> {
    const keys = this.#keys;
    const wish = JSON.stringify({ kind, by, note, timeoutMs } satisfies HostWish); // compared as it stands
    const reply = await wishScript.run(this.#redis, [keys.host(hostId), keys.hosts], { hostId, wish });
    return reply !== 0;
  }

  /** How many ports are taken on the machines of these hosts, by boot id. */
  async portsTaken(hosts: readonly KnownHost[]): Promise<ReadonlyMap<string, number>> {
    const bootIds = [
      ...new Set(hosts.flatMap(({ description }) => (description === undefined ? [] : [description.bootId]))),
    ];
    const fields = await Promise.all(bootIds.map((bootId) => this.#redis.hlen(this.#keys.ports(bootId))));
    return new Map(bootIds.map((bootId, index) => [bootId, Math.floor((fields[index] ?? 0) / FIELDS_PER_PORT)]));
  }

  /** Takes a host that has no lease out of the registry. Its VMs must have been taken back before. */
  async remove(hostId: string): Promise<"alive" | "forgotten"> {
    const keys = this.#keys;
    await deleteRemoveQueue(this.#redis, keys, hostId);
    const reply = await forgetScript.run(this.#redis, [keys.lease(hostId), keys.host(hostId), keys.hosts], { hostId });
    return ForgetReply.parse(reply);
  }

  /** Takes a host out of the registry that left without a VM `keptMs` ago. False when it is not such a host. */
  async removeGone({ hostId }: KnownHost, keptMs: number): Promise<boolean> {
    const keys = this.#keys;
    const args = { hostId, keptMs };
    const reply = await forgetGoneScript.run(this.#redis, [keys.lease(hostId), keys.host(hostId), keys.hosts], args);
    if (reply !== 1) return false;
    await deleteRemoveQueue(this.#redis, keys, hostId);
    return true;
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
    const [kind, text, number] = TakeReply.parse(reply);
    if (kind === "taken") return { kind, wish: readWish(text, number) };
    return { kind, by: readHolder(text) ?? UNKNOWN_HOLDER, leftMs: number };
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
      transaction.hmget(keys.host(hostId), ...HOST_FIELDS);
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
      const [description, awayUntilMs, seenAtMs, leftAtMs, wish, wishAtMs] = fields;
      const holder = readHolder(lease);
      return {
        hostId,
        description: readDescription(description),
        lease: holder === undefined ? undefined : { ...holder, leftMs: Math.max(0, leftMs) },
        awayUntilMs: awayUntilMs === null ? undefined : Number(awayUntilMs),
        seenAtMs: seenAtMs === null ? undefined : Number(seenAtMs),
        leftAtMs: leftAtMs === null ? undefined : Number(leftAtMs),
        wish: readWish(wish, wishAtMs),
        nowMs,
      };
    });
  }
}

/** The hash of a machine's ports says of each who has it, and of each VM which it has. */
const FIELDS_PER_PORT = 2;
const Time = z.tuple([z.coerce.number(), z.coerce.number()]);
const HOST_FIELDS = ["description", "awayUntilMs", "seenAtMs", "leftAtMs", "wish", "wishAtMs"] as const;
const Field = z.string().nullable();
const HostReply = z.tuple([z.tuple([Field, Field, Field, Field, Field, Field]), z.string().nullable(), z.number()]);

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
