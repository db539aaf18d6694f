import { randomUUID } from "node:crypto";
import { z } from "zod";
import { LIVE_CONSOLE_MAX_BYTES } from "../contract/limits.ts";
import { LAUNCH_STATES, type VmState } from "../contract/vm-state.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";

const appendScript = loadScript("append-console-2");

/** A dead host's window goes by itself; a live console is written again long before. */
const WINDOW_TTL_MS = 30 * 24 * 3600 * 1000;

const WRITING_STATES: readonly VmState[] = [...LAUNCH_STATES, "stopping"];

export interface ConsoleWindow {
  /** Absolute offset of the first byte of `data` since the launch began; grows as the window moves on. */
  readonly startOffset: number;
  readonly data: Buffer;
}

/** The bounded window of a live VM's console that is kept in Redis, so that an API on another machine can show it. */
export class LiveConsole {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  /** Redis knows by writer and count what it has already: a resent piece is not written twice. */
  readonly #writer = randomUUID();
  #count = 0;

  constructor({ redis, keys }: { redis: RedisClient; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Written by the VM's worker only: a launch that no longer owns the VM changes nothing and gets false. */
  async append(chunk: { vmId: string; token: string; data: Buffer; skippedBytes: number }): Promise<boolean> {
    const data = chunk.data.subarray(-LIVE_CONSOLE_MAX_BYTES);
    const reply = await appendScript.run(this.#redis, [this.#keys.console(chunk.vmId), this.#keys.record(chunk.vmId)], {
      token: chunk.token,
      states: WRITING_STATES,
      base64: data.toString("base64"),
      bytes: data.length,
      skippedBytes: chunk.skippedBytes + chunk.data.length - data.length,
      maxBytes: LIVE_CONSOLE_MAX_BYTES,
      ttlMs: WINDOW_TTL_MS,
      writer: this.#writer,
      count: ++this.#count,
    });
    return z.union([z.number(), z.string()]).parse(reply) !== -2;
  }

  /** Undefined when the VM has no live console: not running, or nothing written yet. */
  async read(vmId: string): Promise<ConsoleWindow | undefined> {
    const text = await this.#redis.hget(this.#keys.console(vmId), "data");
    if (text === null) return undefined;
    const chunks = text.split("\n").filter((line) => line !== "");
    const offsets = chunks.map((line) => Number(line.slice(0, line.indexOf(":"))));
    const buffers = chunks.map((line) => Buffer.from(line.slice(line.indexOf(":") + 1), "base64"));
    // Bytes that the guest wrote faster than they could be read are missing between two chunks; the window starts
    // after the last such gap, so that offsets stay true.
    let first = 0;
    for (let i = 1; i < chunks.length; i++) {
      if ((offsets[i] ?? 0) !== (offsets[i - 1] ?? 0) + (buffers[i - 1]?.length ?? 0)) first = i;
    }
    return { startOffset: offsets[first] ?? 0, data: Buffer.concat(buffers.slice(first)) };
  }
}
