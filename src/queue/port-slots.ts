import { z } from "zod";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";

const takeScript = loadScript("take-port-3");
const giveScript = loadScript("give-port-3");
const countScript = loadScript("count-ports-2");
const Reply = z.tuple([z.number(), z.number()]);

/** Ports that may be given to VMs: `first` to `last` without `reserved` (drover's own listeners). */
export interface PortRange {
  readonly first: number;
  readonly last: number;
  readonly reserved: readonly number[];
}

/** One launch: only it may give back what it took. */
export interface PortHolder {
  readonly vmId: string;
  readonly epoch: number;
  readonly token: string;
}

export function holderText({ vmId, epoch, token }: PortHolder): string {
  return `${vmId}|${epoch}|${token}`;
}

export interface HeldPort extends PortHolder {
  readonly port: number;
}

/** The forwarded ports of one machine, shared in Redis by all workers of that machine (keyed by its boot id). */
export class PortSlots {
  readonly #redis: RedisClient;
  readonly #portKeys: readonly [string, string, string];
  readonly #range: PortRange;

  constructor({
    redis,
    keys,
    bootId,
    range,
  }: { redis: RedisClient; keys: RedisKeys; bootId: string; range: PortRange }) {
    this.#redis = redis;
    this.#portKeys = [keys.ports(bootId), keys.portsLru(bootId), keys.portsAside(bootId)];
    this.#range = range;
  }

  /** TAKE_PORT: the same port again for the same launch; undefined when none is free or the VM's older launch holds one. */
  async take(holder: PortHolder): Promise<number | undefined> {
    const args = { vmId: holder.vmId, holder: holderText(holder), range: this.#range };
    const [port] = Reply.parse(await takeScript.run(this.#redis, this.#portKeys, args));
    return port < 0 ? undefined : port;
  }

  /** GIVE_PORT: false when this launch does not hold it. `asideMs` keeps the port from being taken for that long. */
  async give(holder: PortHolder, port: number, asideMs?: number): Promise<boolean> {
    const args = { vmId: holder.vmId, holder: holderText(holder), port, asideMs: asideMs ?? null, range: this.#range };
    const [given] = Reply.parse(await giveScript.run(this.#redis, this.#portKeys, args));
    return given === 1;
  }

  async list(): Promise<readonly HeldPort[]> {
    const fields = await this.#redis.hgetall(this.#portKeys[0]);
    return Object.entries(fields).flatMap(([field, holder]) => {
      const port = /^p:(\d+)$/.exec(field)?.[1];
      const [vmId = "", epoch = "", token = ""] = holder.split("|");
      return port === undefined ? [] : [{ port: Number(port), vmId, epoch: Number(epoch), token }];
    });
  }

  /** COUNT_PORTS: how many ports of the range could be taken now; other workers of the machine may have their own. */
  async free(): Promise<number> {
    const [ports, , aside] = this.#portKeys;
    return z.number().parse(await countScript.run(this.#redis, [ports, aside], { range: this.#range }));
  }
}
