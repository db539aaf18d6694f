import { z } from "zod";
import { CAUSE_CODES, type CauseCode } from "../contract/causes.ts";
import { Forensics, LaunchFiles } from "../contract/forensics.ts";
import { FORENSICS_KEPT } from "../contract/limits.ts";
import { LaunchRecord } from "../contract/vm-record.ts";
import type { RedisClient } from "./connection.ts";
import { forensicsField, launchFilesField } from "./forensics-fields.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";

const dismissScript = loadScript("dismiss-failure-2");

/** Groups whose sets are read in one go. */
const CHUNK_GROUPS = 200;

export interface FailureFilter {
  /** Undefined: everybody's. */
  readonly owner?: string | undefined;
  readonly cause?: string | undefined;
  readonly host?: string | undefined;
  /** Failures before this time (Unix ms) do not count. */
  readonly sinceMs?: number | undefined;
}

/** What the index says of a group. */
export interface FailureGroupFacts {
  readonly id: string;
  readonly cause: CauseCode;
  readonly host: string;
  readonly failed: number;
  /** Failed VMs whose secrets are deleted by now. */
  readonly secretsGone: number;
  readonly launchedAgain: number;
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  readonly example: { readonly vmId: string; readonly message: string | undefined };
}

/** A place in a group: everything up to here has been gone through. */
export interface GroupPosition {
  readonly atMs: number;
  readonly vmId: string;
}

const GroupMember = z.tuple([z.string(), z.coerce.number()]);

/** Failures by cause and host, from the index that the scripts keep; and what is kept of each failed launch. */
export class FailureStore {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #secretsKeptMs: number;

  /** `failedSecretsMs`: how long the sealed secrets of a failed VM stay. */
  constructor({ redis, keys, keep }: { redis: RedisClient; keys: RedisKeys; keep: { failedSecretsMs: number } }) {
    this.#redis = redis;
    this.#keys = keys;
    this.#secretsKeptMs = keep.failedSecretsMs;
  }

  /** Most failed VMs first. What it costs grows with the number of groups, not of VMs. */
  async groups(filter: FailureFilter): Promise<readonly FailureGroupFacts[]> {
    const names = await this.#redis.smembers(this.#keys.failureGroups(filter.owner));
    const wanted = names.flatMap((name) => {
      const named = readGroup(name);
      return named !== undefined && fits(named, filter) ? [named] : [];
    });
    const found: FailureGroupFacts[] = [];
    for (let at = 0; at < wanted.length; at += CHUNK_GROUPS)
      found.push(...(await this.#facts(wanted.slice(at, at + CHUNK_GROUPS), filter)));
    return found.sort((a, b) => b.failed - a.failed || b.launchedAgain - a.launchedAgain || (a.id < b.id ? -1 : 1));
  }

  async hasGroup({ group, owner }: { group: string; owner: string | undefined }): Promise<boolean> {
    return (await this.#redis.sismember(this.#keys.failureGroups(owner), group)) === 1;
  }

  /**
   * VMs of a group that failed no later than `untilMs`, oldest first, behind a position. `kind`: those that have failed,
   * or those that were launched again.
   */
  async members(wanted: {
    readonly group: string;
    readonly owner: string | undefined;
    readonly kind: "vms" | "again";
    readonly after: GroupPosition | undefined;
    readonly untilMs: number;
    readonly count: number;
  }): Promise<readonly GroupPosition[]> {
    const { after, untilMs, count } = wanted;
    const key = this.#keys.failureGroup(wanted.group, wanted.kind, wanted.owner);
    for (let window = count; ; window *= 4) {
      const from = after?.atMs ?? "-inf";
      const flat = await this.#redis.zrangebyscore(key, from, untilMs, "WITHSCORES", "LIMIT", 0, window);
      const members = inPairs(flat);
      const fresh = after === undefined ? members : members.filter((member) => isBehind(member, after));
      // Many VMs of one millisecond may fill the window with those that were gone through.
      if (fresh.length > 0 || members.length < window) return fresh.slice(0, count);
    }
  }

  /** The VM counts in this group no longer. False when it did not. */
  async dismiss({ vmId, group, by }: { vmId: string; group: string; by: string }): Promise<boolean> {
    const { record, statePrefix } = this.#keys;
    return (await dismissScript.run(this.#redis, [record(vmId), statePrefix], { vmId, group, by })) === 1;
  }

  /** The failed launches of a VM of which the details are kept, oldest first. What cannot be read is left out. */
  async forensics(vmId: string): Promise<readonly { launch: Forensics; files: LaunchFiles | undefined }[]> {
    const places = Array.from({ length: FORENSICS_KEPT }, (_, place) => place);
    const fields = places.flatMap((place) => [forensicsField(place), launchFilesField(place)]);
    const texts = await this.#redis.hmget(this.#keys.tail(vmId), ...fields);
    const kept = places.flatMap((place) => {
      const launch = readJson(Forensics, texts[2 * place]);
      const files = readJson(LaunchFiles, texts[2 * place + 1]);
      if (launch === undefined) return [];
      return [{ launch, files: files?.epoch === launch.epoch ? files : undefined }]; // else of the launch before it
    });
    return kept.sort((a, b) => a.launch.epoch - b.launch.epoch);
  }

  async #facts(groups: readonly GroupName[], { owner, sinceMs }: FailureFilter): Promise<FailureGroupFacts[]> {
    const from = sinceMs ?? "-inf";
    const lastSealedMs = Date.now() - this.#secretsKeptMs;
    const pipeline = this.#redis.pipeline();
    for (const { id } of groups) {
      pipeline.zcount(this.#keys.failureGroup(id, "sealed", owner), from, lastSealedMs);
      for (const kind of ["vms", "again"] as const) {
        const key = this.#keys.failureGroup(id, kind, owner);
        pipeline.zcount(key, from, "+inf");
        pipeline.zrangebyscore(key, from, "+inf", "WITHSCORES", "LIMIT", 0, 1);
        pipeline.zrevrangebyscore(key, "+inf", from, "WITHSCORES", "LIMIT", 0, 1);
      }
    }
    const replies = await results(pipeline);
    const REPLIES_PER_GROUP = 7;
    const facts = groups.flatMap((group, index) => {
      const own = replies.slice(index * REPLIES_PER_GROUP, (index + 1) * REPLIES_PER_GROUP);
      const [secretsGone, failed, firstFailed, lastFailed, launchedAgain, firstAgain, lastAgain] = own;
      const firsts = [...inPairs(firstFailed), ...inPairs(firstAgain)].map(({ atMs }) => atMs);
      const lasts = [...inPairs(lastFailed), ...inPairs(lastAgain)];
      const example = lasts[0];
      if (example === undefined) return []; // all of them are older, or gone meanwhile
      return [
        {
          ...group,
          failed: Number(failed),
          secretsGone: Number(secretsGone),
          launchedAgain: Number(launchedAgain),
          firstAtMs: Math.min(...firsts),
          lastAtMs: Math.max(...lasts.map(({ atMs }) => atMs)),
          example: { vmId: example.vmId, message: undefined },
        },
      ];
    });
    return this.#withMessages(facts);
  }

  async #withMessages(groups: readonly FailureGroupFacts[]): Promise<FailureGroupFacts[]> {
    const pipeline = this.#redis.pipeline();
    for (const { example } of groups) pipeline.hget(this.#keys.record(example.vmId), "launches");
    const replies = await results(pipeline);
    return groups.map((group, index) => {
      const launches = readJson(z.array(LaunchRecord), replies[index]) ?? [];
      const last = launches.findLast(({ host, cause }) => host === group.host && cause?.code === group.cause);
      return { ...group, example: { ...group.example, message: last?.cause?.message } };
    });
  }
}

interface GroupName {
  readonly id: string;
  readonly cause: CauseCode;
  readonly host: string;
}

/** Undefined for a cause that only a newer version knows. */
function readGroup(id: string): GroupName | undefined {
  const [code = "", host = ""] = id.split(/@(.*)/s);
  const cause = CAUSE_CODES.find((known) => known === code);
  return cause === undefined ? undefined : { id, cause, host };
}

function fits({ cause, host }: GroupName, filter: FailureFilter): boolean {
  return (filter.cause === undefined || cause === filter.cause) && (filter.host === undefined || host === filter.host);
}

function isBehind({ atMs, vmId }: GroupPosition, after: GroupPosition): boolean {
  return atMs > after.atMs || (atMs === after.atMs && vmId > after.vmId);
}

/** Members and scores in turn, as Redis gives them. */
function inPairs(reply: unknown): GroupPosition[] {
  const flat = z.array(z.string()).parse(reply);
  const members: GroupPosition[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const [vmId, atMs] = GroupMember.parse([flat[at], flat[at + 1]]);
    members.push({ vmId, atMs });
  }
  return members;
}

async function results(pipeline: ReturnType<RedisClient["pipeline"]>): Promise<unknown[]> {
  return ((await pipeline.exec()) ?? []).map(([error, reply]) => {
    if (error !== null) throw error;
    return reply;
  });
}

function readJson<S extends z.ZodType>(schema: S, text: unknown): z.output<S> | undefined {
  if (typeof text !== "string") return undefined;
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
