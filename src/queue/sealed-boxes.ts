import { setImmediate as yieldToOthers } from "node:timers/promises";
import { LaunchFailure } from "../contract/causes.ts";
import { boxKeyId, openSealed, sealSecrets } from "../runtime/sealing.ts";
import type { SecretKeys } from "../runtime/secret-keys.ts";
import { batchBoxes, type WaitingBox } from "./batch-boxes.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";
import { listRecords } from "./vm-list.ts";

const replaceScript = loadScript("replace-box-1");

/** VMs looked at in one step: Redis and this process stay free for others in between. */
const STEP_VMS = 100;

export interface ResealOutcome {
  /** Boxes that the sealing key has sealed now. */
  readonly resealed: number;
  /** Boxes that it had sealed before. */
  readonly current: number;
  /** VMs (or batches, by their shared secrets) whose box cannot be opened with these keys. */
  readonly unreadable: readonly { readonly vmId: string; readonly keyId: string }[];
}

/** All boxes in Redis, of VMs and of batches, for a change of the key. */
export class SealedBoxes {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { redis: RedisClient; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Seals every waiting box with the sealing key, while VMs are submitted, launched and removed: a box that goes
   * meanwhile stays gone. Stops with the signal's reason. Doing it again goes on where it stopped.
   */
  async reseal(secretKeys: SecretKeys, signal: AbortSignal): Promise<ResealOutcome> {
    const unreadable: { vmId: string; keyId: string }[] = [];
    let resealed = 0;
    let current = 0;
    for await (const waiting of this.#boxes(signal)) {
      const keyId = boxKeyId(waiting.box);
      if (keyId === secretKeys.sealingId) {
        current += 1;
        continue;
      }
      const fresh = resealBox(secretKeys, waiting);
      if (fresh === undefined) unreadable.push({ vmId: waiting.vmId, keyId });
      else if (await waiting.replace(fresh)) resealed += 1;
    }
    return { resealed, current, unreadable };
  }

  /** How many boxes each key has sealed. */
  async countByKey(signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>();
    for await (const { box } of this.#boxes(signal)) counts.set(boxKeyId(box), (counts.get(boxKeyId(box)) ?? 0) + 1);
    return counts;
  }

  /** Batches come first: an item whose VM is made meanwhile is met again among the VMs. */
  async *#boxes(signal: AbortSignal): AsyncGenerator<WaitingBox> {
    yield* batchBoxes({ redis: this.#redis, keys: this.#keys }, signal);
    yield* this.#vmBoxes(signal);
  }

  async *#vmBoxes(signal: AbortSignal): AsyncGenerator<WaitingBox> {
    let cursor: string | undefined;
    do {
      signal.throwIfAborted();
      const page = await listRecords(this.#redis, this.#keys, { limit: STEP_VMS, cursor });
      const owners = page.records.filter(({ hasSecrets }) => hasSecrets);
      const pipeline = this.#redis.pipeline();
      for (const { vmId } of owners) pipeline.get(this.#keys.box(vmId));
      const replies = (await pipeline.exec()) ?? [];
      for (const [at, [error, box]] of replies.entries()) {
        if (error !== null) throw error;
        const { owner, vmId } = owners[at] ?? {};
        if (typeof box !== "string" || owner === undefined || vmId === undefined) continue;
        yield { owner, vmId, box, replace: (fresh) => this.#replace({ vmId, box, fresh }) };
      }
      cursor = page.next ?? undefined;
      await yieldToOthers();
    } while (cursor !== undefined);
  }

  async #replace({ vmId, box, fresh }: { vmId: string; box: string; fresh: string }): Promise<boolean> {
    return (await replaceScript.run(this.#redis, [this.#keys.box(vmId)], { old: box, new: fresh })) === 1;
  }
}

function resealBox(secretKeys: SecretKeys, { owner, vmId, box }: WaitingBox): string | undefined {
  try {
    return sealSecrets(secretKeys, { owner, vmId }, openSealed(secretKeys, { owner, vmId }, box));
  } catch (error) {
    if (error instanceof LaunchFailure) return undefined;
    throw error;
  }
}
