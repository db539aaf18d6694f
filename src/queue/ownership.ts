import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { VmJobData } from "../contract/job-data.ts";
import type { VmEventData, VmEventType } from "../contract/vm-event.ts";
import { FINAL_STATES, VM_STATES, type VmState, WAITING_STATES } from "../contract/vm-state.ts";
import type { RedisClient } from "./connection.ts";
import { LOCK_MS } from "./job-claims.ts";
import { type LaunchIdentity, type RecordFields, RemovalMark } from "./launch-moves.ts";
import { loadScript } from "./lua-script.ts";
import { holderText } from "./port-slots.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";
import { jobOptions } from "./vm-queue.ts";

const checkScript = loadScript("check-owner-5");
const claimScript = loadScript("claim-6");
const reassertScript = loadScript("reassert-19");
const noteScript = loadScript("note-event-2");

const CheckReply = z.tuple([z.enum(["ours", "differs"]), z.string()]);
const ClaimReply = z.tuple([z.number(), z.union([z.enum(VM_STATES), z.literal("")]), z.string()]);
const ReassertReply = z.tuple([z.enum(["ours", "reasserted", "final", "superseded"]), z.string()]);

/** How far a launch is; Redis may be ahead of what its worker knows (a reply on its way), never behind. */
const RANKS = { preparing: 1, starting: 2, running: 3, ready: 4, stopping: 5 } as const;
export type LiveState = keyof typeof RANKS;

/** After a loss nobody knows how many events there were: the count goes on far above, and the gap says so. */
const SEQ_AFTER_LOSS = 1_000;

/** What a host knows of a VM that it runs, enough to tell it to a Redis that knows nothing. */
export interface LiveLaunch {
  readonly identity: LaunchIdentity;
  readonly state: LiveState;
  readonly port: number | undefined;
  /** The record as Redis held it when the launch began; undefined: only what `job` says is known. */
  readonly snapshot: Readonly<Record<string, string>> | undefined;
  /** What the launch has written into its record since. */
  readonly fields: RecordFields;
  readonly job: VmJobData;
  readonly deadlineAtMs: number | undefined;
}

export type ClaimOutcome =
  /** `prepared: false`: the job was fetched and the record never heard of the launch. */
  | { readonly kind: "claimed"; readonly state: VmState; readonly prepared: boolean; readonly mark?: RemovalMark }
  | { readonly kind: "refused"; readonly state: VmState | undefined };

export type ReassertOutcome =
  | { readonly kind: "ours" }
  | { readonly kind: "reasserted"; readonly lost: string }
  /** Positive evidence against the launch: the VM has ended, or a newer launch counts. */
  | { readonly kind: "final" | "superseded"; readonly epoch: number };

/** Brings what a host runs and what Redis says of it into agreement: CHECK, CLAIM and REASSERT. */
export class Ownership {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #bootId: string;
  readonly #tokenPrefix: string;
  readonly #eventsMax: number;

  /** `tokenPrefix` is what all tokens of this host and state directory begin with. */
  constructor(options: {
    redis: RedisClient;
    keys: RedisKeys;
    bootId: string;
    tokenPrefix: string;
    eventsMax: number;
  }) {
    this.#redis = options.redis;
    this.#keys = options.keys;
    this.#bootId = options.bootId;
    this.#tokenPrefix = options.tokenPrefix;
    this.#eventsMax = options.eventsMax;
  }

  /** Whether Redis agrees that the launch owns VM, job and port, and the VM's removal mark. */
  async check(live: LiveLaunch): Promise<{ agrees: boolean; mark: RemovalMark | undefined }> {
    const { identity, port, state } = live;
    const keys = this.#keys;
    const { job, active } = this.#jobKeys(identity);
    const reply = await checkScript.run(
      this.#redis,
      [keys.record(identity.vmId), keys.mark(identity.vmId), job, active, keys.ports(this.#bootId)],
      { ...who(identity), port: port ?? null, rank: RANKS[state], ranks: RANKS },
    );
    const [verdict, mark] = CheckReply.parse(reply);
    return { agrees: verdict === "ours", mark: readMark(mark) };
  }

  /** CLAIM: `identity.token` is the new token; it must be on disk already. */
  async claim(identity: LaunchIdentity): Promise<ClaimOutcome> {
    const keys = this.#keys;
    const { job, active, lock } = this.#jobKeys(identity);
    const reply = await claimScript.run(
      this.#redis,
      [keys.record(identity.vmId), keys.mark(identity.vmId), job, active, keys.ports(this.#bootId), lock],
      {
        ...who(identity),
        tokenPrefix: this.#tokenPrefix,
        lockMs: LOCK_MS,
        waiting: WAITING_STATES,
        final: FINAL_STATES,
      },
    );
    const [code, state, markText] = ClaimReply.parse(reply);
    if (code < 1 || state === "") return { kind: "refused", state: state === "" ? undefined : state };
    const mark = readMark(markText);
    return { kind: "claimed", state, prepared: code === 1, ...(mark && { mark }) };
  }

  /** REASSERT: tells Redis again what it has lost, unless it knows better. */
  async reassert(live: LiveLaunch): Promise<ReassertOutcome> {
    const { identity, job, snapshot } = live;
    const { vmId, pool } = identity;
    const keys = this.#keys;
    const queue = poolQueueName(pool);
    const of = (part: string) => keys.bull(queue, part);
    const record = snapshot ?? recordFromJob(live);
    const reply = await reassertScript.run(
      this.#redis,
      [
        keys.record(vmId),
        keys.events,
        keys.statePrefix,
        keys.mark(vmId),
        of(vmId),
        of("active"),
        of("prioritized"),
        of("delayed"),
        of("wait"),
        of("failed"),
        of("completed"),
        keys.allVms,
        keys.ownedVms(job.owner),
        keys.ports(this.#bootId),
        keys.deadlines,
        keys.expiry,
        keys.pools,
        keys.pendingJobs,
        `${of(vmId)}:lock`,
      ],
      {
        ...who(identity),
        tokenPrefix: this.#tokenPrefix,
        port: live.port ?? null,
        state: live.state,
        ranks: RANKS,
        final: FINAL_STATES,
        waiting: WAITING_STATES,
        snapshot: record,
        fields: live.fields,
        pool,
        deadlineAtMs: live.deadlineAtMs ?? null,
        lockMs: LOCK_MS,
        minSeq: Number(record["seq"] ?? 0) + SEQ_AFTER_LOSS,
        eventsMax: this.#eventsMax,
        progress: JSON.stringify({ state: live.state, host: identity.host, launch: identity.epoch }),
        job: {
          name: job.spec.name ?? "vm",
          data: JSON.stringify(job),
          opts: JSON.stringify(
            jobOptions({
              vmId,
              jobPriority: Number(record["jobPriority"] ?? 1),
              attempts: Number(record["attempts"] ?? 1),
            }),
          ),
          priority: Number(record["jobPriority"] ?? 1),
          attemptsMade: Number(record["attemptsMade"] ?? 0),
        },
      },
    );
    const [kind, detail] = ReassertReply.parse(reply);
    if (kind === "ours") return { kind };
    return kind === "reasserted" ? { kind, lost: detail } : { kind, epoch: Number(detail) };
  }

  /** Writes an event that changes no state; with `token`, only where that launch owns the VM. */
  async note<T extends VmEventType>(
    { vmId, token }: { vmId: string; token?: string },
    event: { readonly type: T; readonly data: VmEventData<T> },
  ): Promise<void> {
    await noteScript.run(this.#redis, [this.#keys.record(vmId), this.#keys.events], {
      vmId,
      token: token ?? null,
      type: event.type,
      data: JSON.stringify(event.data),
      eventsMax: this.#eventsMax,
      nonce: randomUUID(),
    });
  }

  /** The record's fields as Redis holds them, for the local record. */
  async snapshot(vmId: string): Promise<Readonly<Record<string, string>> | undefined> {
    const fields = await this.#redis.hgetall(this.#keys.record(vmId));
    return Object.keys(fields).length === 0 ? undefined : fields;
  }

  #jobKeys({ vmId, pool }: LaunchIdentity) {
    const job = this.#keys.bull(poolQueueName(pool), vmId);
    return { job, lock: `${job}:lock`, active: this.#keys.bull(poolQueueName(pool), "active") };
  }
}

function who(identity: LaunchIdentity) {
  const { vmId, host, epoch, token } = identity;
  return { vmId, host, epoch, token, holder: holderText(identity) };
}

function readMark(text: string): RemovalMark | undefined {
  if (text === "") return undefined;
  const mark = RemovalMark.safeParse(JSON.parse(text));
  return mark.success ? mark.data : undefined; // the tombstone of a purged record is none
}

/** For a local record of a version that kept no snapshot. */
function recordFromJob({ identity, job }: LiveLaunch): Readonly<Record<string, string>> {
  return {
    v: "1",
    owner: job.owner,
    pool: job.pool,
    priority: identity.priority,
    spec: JSON.stringify(job.spec),
    digest: "",
    attempts: "1",
    hasSecrets: "0",
    jobPriority: "1",
    createdAtMs: String(Date.now()),
  };
}
