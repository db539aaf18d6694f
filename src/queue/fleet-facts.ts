import { z } from "zod";
import { LAUNCH_STATES, VM_STATES } from "../contract/vm-state.ts";
import type { RedisClient } from "./connection.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";

const READ_AT_ONCE = 500;
const FIELDS = ["state", "epoch", "host", "token", "port"] as const;

/** Of a record only what says who has the VM, so that one of any version can be compared. */
const Ownership = z.object({
  state: z.enum(VM_STATES),
  epoch: z.coerce.number().int(),
  host: z.string().nullable(),
  token: z.string().nullable(),
  port: z.coerce.number().int().nullable(),
});

const Mark = z.object({ reason: z.string() });

/** What Redis says of one VM. */
export interface KnownVm {
  /** `damaged`: there is a record and its fields cannot be understood. */
  readonly record: z.infer<typeof Ownership> | "damaged" | undefined;
  /** `purged`: it ended long ago, and its record was deleted. */
  readonly mark: "removal" | "purged" | undefined;
}

/** A job that is active under a token of a state directory. */
export interface ActiveJob {
  readonly vmId: string;
  readonly pool: string;
  readonly token: string;
}

/** Reads of Redis for comparisons. Nothing is written. */
export class FleetFacts {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { redis: RedisClient; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async vms(vmIds: readonly string[]): Promise<ReadonlyMap<string, KnownVm>> {
    const found = new Map<string, KnownVm>();
    for (let at = 0; at < vmIds.length; at += READ_AT_ONCE) {
      const some = vmIds.slice(at, at + READ_AT_ONCE);
      const pipeline = this.#redis.pipeline();
      for (const vmId of some) pipeline.hmget(this.#keys.record(vmId), ...FIELDS).get(this.#keys.mark(vmId));
      const replies = ((await pipeline.exec()) ?? []).map(([error, value]) => {
        // A key of another type is damage of this one VM; everything else is Redis's.
        if (error !== null && !error.message.startsWith("WRONGTYPE")) throw error;
        return error ?? value;
      });
      for (const [index, vmId] of some.entries()) {
        found.set(vmId, { record: readRecord(replies[2 * index]), mark: readMark(replies[2 * index + 1]) });
      }
    }
    return found;
  }

  /** VMs that some host has, by their records. */
  async vmsOnHosts(): Promise<readonly string[]> {
    const states = [...LAUNCH_STATES, "stopping"];
    const found = await Promise.all(states.map((state) => this.#redis.zrange(this.#keys.stateVms(state), "0", "-1")));
    return [...new Set(found.flat())];
  }

  /** Jobs that are active under a token of this state directory, of any boot. */
  async activeJobs(stateId: string): Promise<readonly ActiveJob[]> {
    const found: ActiveJob[] = [];
    for (const pool of await this.#redis.smembers(this.#keys.pools)) {
      const key = (part: string) => this.#keys.bull(poolQueueName(pool), part);
      const vmIds = await this.#redis.lrange(key("active"), 0, -1);
      if (vmIds.length === 0) continue;
      const tokens = await this.#redis.mget(vmIds.map((vmId) => key(`${vmId}:lock`)));
      for (const [index, vmId] of vmIds.entries()) {
        const token = tokens[index] ?? "";
        if (stateIdOf(token) === stateId) found.push({ vmId, pool, token });
      }
    }
    return found;
  }
}

/** Which state directory a launch's token (`hostId:stateId:bootId:random`) belongs to. */
export function stateIdOf(token: string): string | undefined {
  return token.split(":")[1];
}

function readRecord(reply: unknown): KnownVm["record"] {
  if (reply instanceof Error || !Array.isArray(reply)) return "damaged";
  if (reply.every((value) => value === null)) return undefined;
  const record = Ownership.safeParse(Object.fromEntries(FIELDS.map((name, index) => [name, reply[index]])));
  return record.success ? record.data : "damaged";
}

function readMark(reply: unknown): KnownVm["mark"] {
  if (typeof reply !== "string") return undefined;
  try {
    return Mark.parse(JSON.parse(reply)).reason === "purged" ? "purged" : "removal";
  } catch {
    return "removal"; // whatever it says: somebody marked the VM
  }
}
