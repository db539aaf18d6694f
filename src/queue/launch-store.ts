import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { LaunchFiles } from "../contract/forensics.ts";
import type { VmEventType } from "../contract/vm-event.ts";
import { LaunchRecord } from "../contract/vm-record.ts";
import { LAUNCH_STATES, VM_STATES, type VmState } from "../contract/vm-state.ts";
import { ALLOWED_FROM } from "../contract/vm-transition.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { RedisClient } from "./connection.ts";
import { forensicsField, launchFilesField } from "./forensics-fields.ts";
import {
  type LaunchHistory,
  type LaunchIdentity,
  type Leave,
  type Move,
  type MoveOutcome,
  type PrepareOutcome,
  type PrepareRefusal,
  type RecordFields,
  RemovalMark,
} from "./launch-moves.ts";
import { loadScript } from "./lua-script.ts";
import { holderText, type PortRange, PortSlots } from "./port-slots.ts";
import { PRIORITY_SCALE } from "./priority-scale.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";

const prepareScript = loadScript("prepare-12");
const transitionScript = loadScript("transition-14");
const changePortScript = loadScript("change-port-7");
const noteFilesScript = loadScript("note-launch-files-1");

const PortReply = z.tuple([z.number(), z.number(), z.number()]);
const PrepareReply = z.tuple([z.number(), z.number(), z.number()]).rest(z.array(z.string()));
const MoveReply = z.tuple([z.number(), z.union([z.enum(VM_STATES), z.literal("")]), z.number()]);

const PREPARE_REFUSALS: Readonly<Record<number, PrepareRefusal>> = {
  0: "no_port",
  [-1]: "no_record",
  [-2]: "not_owner",
  [-3]: "wrong_state",
  [-4]: "marked",
  [-5]: "avoided",
};
const MOVE_OUTCOMES: Readonly<Record<number, MoveOutcome>> = {
  1: "done",
  [-1]: "no_record",
  [-2]: "not_owner",
  [-3]: "wrong_state",
  [-4]: "marked",
};

/** States that a VM with a removal mark must not enter: a launch, or the queue, which leads to one. */
const BARRED_BY_MARK: readonly VmState[] = [...LAUNCH_STATES, "queued", "retrying"];

/** The moves that only the owner of a launch makes. Every script compares host, epoch and token. */
export class LaunchStore {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #bootId: string;
  readonly #range: PortRange;
  readonly #eventsMax: number;
  readonly #keep: Config["keep"];
  readonly #ports: PortSlots;
  #freePorts = 0;

  constructor(options: {
    redis: RedisClient;
    keys: RedisKeys;
    bootId: string;
    range: PortRange;
    eventsMax: number;
    keep: Config["keep"];
  }) {
    this.#redis = options.redis;
    this.#keys = options.keys;
    this.#bootId = options.bootId;
    this.#range = options.range;
    this.#eventsMax = options.eventsMax;
    this.#keep = options.keep;
    this.#ports = new PortSlots(options);
  }

  /** Ports of this machine that could be taken, as the last script said: nothing is fetched when there is none. */
  get freePorts(): number {
    return this.#freePorts;
  }

  async countFreePorts(): Promise<void> {
    this.#freePorts = await this.#ports.free();
  }

  /** PREPARE: checks that the fetched job is ours, takes a port and moves the record to `preparing`, all or nothing. */
  async prepare(launch: LaunchIdentity, fields: RecordFields): Promise<PrepareOutcome> {
    const keys = this.#keys;
    const reply = await prepareScript.run(
      this.#redis,
      [
        keys.record(launch.vmId),
        keys.events,
        keys.statePrefix,
        keys.mark(launch.vmId),
        keys.ports(this.#bootId),
        keys.portsLru(this.#bootId),
        keys.portsAside(this.#bootId),
        keys.deadlines,
        keys.fairness(launch.pool),
        this.#jobKey(launch),
        keys.box(launch.vmId),
        keys.expiry,
      ],
      {
        ...this.#identity(launch),
        from: ALLOWED_FROM.preparing,
        range: this.#range,
        fields,
        progress: JSON.stringify({ state: "preparing", host: launch.host, launch: launch.epoch }),
        keepMs: this.#keep.completedMs,
        ...PRIORITY_SCALE,
      },
    );
    const [code, port, freePorts, history = []] = PrepareReply.parse(reply);
    this.#freePorts = freePorts;
    if (code === 1) return { kind: "prepared", port, history: readHistory(history) };
    return { kind: PREPARE_REFUSALS[code] ?? "not_owner" };
  }

  /** TRANSITION: state and event together, or an outcome that says why not. A resent command changes nothing. */
  async move<T extends VmEventType>(launch: LaunchIdentity, move: Move<T>): Promise<MoveOutcome> {
    const keys = this.#keys;
    const reply = await transitionScript.run(
      this.#redis,
      [
        keys.record(launch.vmId),
        keys.events,
        keys.statePrefix,
        keys.mark(launch.vmId),
        this.#jobKey(launch),
        keys.deadlines,
        keys.expiry,
        keys.box(launch.vmId),
        keys.tail(launch.vmId),
        keys.console(launch.vmId),
        keys.ports(this.#bootId),
        keys.portsLru(this.#bootId),
        keys.portsAside(this.#bootId),
        keys.pendingJobs,
      ],
      {
        ...this.#identity(launch),
        to: move.to,
        from: ALLOWED_FROM[move.to],
        launch: BARRED_BY_MARK.includes(move.to),
        nonce: randomUUID(),
        fields: move.fields ?? {},
        range: this.#range,
        event: { type: move.event.type, data: JSON.stringify(move.event.data) },
        progress: JSON.stringify({ state: move.to, host: launch.host, launch: launch.epoch, ...move.progress }),
        deadlineMs: move.ttlMs ?? null,
        leave:
          move.leave === undefined
            ? null
            : {
                ...move.leave,
                tail: move.leave.tail ?? null,
                forensics: forensicsOf(move.leave),
                holder: holderText(launch),
              },
      },
    );
    const [code, , freePorts] = MoveReply.parse(reply);
    if (move.leave !== undefined && code === 1) this.#freePorts = freePorts;
    return MOVE_OUTCOMES[code] ?? "not_owner";
  }

  /** Sets the port aside that a foreign process holds and takes the next one, within the attempt; undefined: none is free. */
  async changePort(launch: LaunchIdentity, port: number, asideMs: number): Promise<number | undefined> {
    const keys = this.#keys;
    const reply = await changePortScript.run(
      this.#redis,
      [
        keys.record(launch.vmId),
        keys.events,
        keys.ports(this.#bootId),
        keys.portsLru(this.#bootId),
        keys.portsAside(this.#bootId),
        this.#jobKey(launch),
        keys.mark(launch.vmId),
      ],
      {
        ...this.#identity(launch),
        port,
        asideMs,
        range: this.#range,
        progress: JSON.stringify({ state: "preparing", host: launch.host, launch: launch.epoch, portSetAside: port }),
      },
    );
    const [code, next, freePorts] = PortReply.parse(reply);
    this.#freePorts = freePorts;
    return code === 1 ? next : undefined;
  }

  /** Gives a port back that this launch holds; for one whose record no longer knows of it. */
  async givePort(launch: LaunchIdentity, port: number): Promise<void> {
    await this.#ports.give(launch, port);
    await this.countFreePorts();
  }

  /** The sealed secrets of a VM, or undefined when there are none (any more). */
  async sealedSecrets(vmId: string): Promise<string | undefined> {
    return (await this.#redis.get(this.#keys.box(vmId))) ?? undefined;
  }

  /** Those of the given VMs that have a removal mark. */
  async marked(vmIds: readonly string[]): Promise<ReadonlyMap<string, RemovalMark>> {
    if (vmIds.length === 0) return new Map();
    const marks = await this.#redis.mget(vmIds.map((vmId) => this.#keys.mark(vmId)));
    return new Map(
      vmIds.flatMap((vmId, index) => {
        const text = marks[index];
        if (text == null) return [];
        const mark = RemovalMark.safeParse(JSON.parse(text));
        return mark.success ? [[vmId, mark.data] as const] : []; // the tombstone of a purged record is none
      }),
    );
  }

  /** What was found out of a failed launch's files. Nothing happens once the VM's records are deleted. */
  async noteFiles(vmId: string, files: LaunchFiles): Promise<void> {
    const text = JSON.stringify(files);
    await noteFilesScript.run(this.#redis, [this.#keys.tail(vmId)], { field: launchFilesField(files.epoch), text });
  }

  #identity(launch: LaunchIdentity) {
    const { vmId, host, epoch, token } = launch;
    return { vmId, host, epoch, token, holder: holderText(launch), eventsMax: this.#eventsMax };
  }

  #jobKey(launch: LaunchIdentity): string {
    return this.#keys.bull(poolQueueName(launch.pool), launch.vmId);
  }
}

function forensicsOf({ forensics }: Leave): { field: string; text: string } | null {
  return forensics === undefined ? null : { field: forensicsField(forensics.epoch), text: JSON.stringify(forensics) };
}

function readHistory(fields: readonly string[]): LaunchHistory {
  const [
    attempts = "",
    attemptsMade = "",
    hasSecrets = "",
    launches = "",
    deadlineAtMs = "",
    avoid = "",
    crashes = "",
    trace = "",
    queuedAtMs = "",
  ] = fields;
  return {
    attempts: Number(attempts),
    attemptsMade: Number(attemptsMade),
    hasSecrets: hasSecrets === "1",
    launches: launches === "" ? [] : z.array(LaunchRecord).parse(JSON.parse(launches)),
    deadlineAtMs: deadlineAtMs === "" ? undefined : Number(deadlineAtMs),
    avoid: avoid === "" ? {} : z.record(z.string(), z.number()).parse(JSON.parse(avoid)),
    crashes: crashes === "" ? [] : z.array(z.number()).parse(JSON.parse(crashes)),
    trace: trace === "" ? undefined : trace,
    queuedAtMs: queuedAtMs === "" ? undefined : Number(queuedAtMs),
  };
}
