import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { openRedis, type RedisClient } from "../queue/connection.ts";
import { EventFeed } from "../queue/event-feed.ts";
import { EventLog } from "../queue/event-log.ts";
import { HostRegistry } from "../queue/host-registry.ts";
import { LiveConsole } from "../queue/live-console.ts";
import { LostVms } from "../queue/lost-vms.ts";
import { Reaper } from "../queue/reaper.ts";
import { redisKeys } from "../queue/redis-keys.ts";
import { Sweeper } from "../queue/sweeper.ts";
import { VmQueue } from "../queue/vm-queue.ts";
import { VmStore } from "../queue/vm-store.ts";
import { VmUpkeep } from "../queue/vm-upkeep.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { Scope } from "../runtime/scope.ts";
import type { SecretKeys } from "../runtime/secret-keys.ts";
import { DROVER_VERSION } from "../runtime/version.ts";
import { type ApiDeps, type BuildInfo, DEFAULT_STREAM_LIMITS, type StreamLimits } from "./api-deps.ts";
import { type Identify, LOCAL_OPERATOR } from "./principal.ts";
import { RedisGate } from "./redis-gate.ts";
import { VmWatch } from "./vm-watch.ts";

export interface ApiOptions {
  readonly config: Config;
  readonly logger: Logger;
  /** What /health says was built. */
  readonly build?: Partial<BuildInfo>;
  readonly identify?: Identify;
  readonly limits?: Partial<StreamLimits>;
}

/** As Cocos says it of a binary that was built without these. */
const UNKNOWN_BUILD: BuildInfo = { version: DROVER_VERSION, commit: "ffffffff", buildTime: "1970-01-01_00:00:00" };

/** Clients are promised their 503 within 250 ms of a Redis that fell silent; a slow answer of a live one may take longer. */
const SILENCE_MAX_MS = 200;

const CLOSE_MAX_MS = 500;

/** The parts that the API stands on. All connect in the background and are closed with the scope. */
export function connectApi(
  options: ApiOptions & { readonly secretKeys: SecretKeys | undefined },
  scope: Scope,
): ApiDeps {
  const { config, logger } = options;
  const { url, prefix, commandTimeoutMs } = config.redis;
  const open = (role: "api" | "blocking", name: string): RedisClient =>
    scope.own(openRedis({ url, role, name, logger, ...(role === "api" ? { commandTimeoutMs } : {}) }), (client) =>
      client.disconnect(),
    );
  const keys = redisKeys(prefix);
  const redis = open("api", "drover-api");
  const store = new VmStore({ redis, keys, eventsMax: config.eventsMax, keep: config.keep });
  const queue = scope.own(new VmQueue({ redis, keys, logger }), (vmQueue) => {
    redis.disconnect(); // else BullMQ would wait for a Redis that is away before it closes
    return closeSoon(vmQueue.close());
  });
  const feedConnection = open("blocking", "drover-api-events");
  const eventFeed = scope.own(new EventFeed({ redis: feedConnection, keys, logger }), (feed) => closeSoon(feed.stop()));
  const gate = scope.own(
    new RedisGate({ ping: () => store.ping(), timeoutMs: Math.min(commandTimeoutMs, SILENCE_MAX_MS), logger }),
    (redisGate) => redisGate.stop(),
  );
  const watch = new VmWatch(eventFeed);
  // Accepted VMs, time limits and retention must not wait for a worker: there may be none.
  const upkeep = new VmUpkeep({ redis, keys, keep: config.keep });
  const sweeper = scope.own(new Sweeper({ store, upkeep, queue, logger, intervalMs: config.sweepMs }), (running) =>
    closeSoon(running.stop()),
  );
  sweeper.start();
  const hosts = new HostRegistry({ redis, keys });
  const lostVms = new LostVms({ redis, keys, eventsMax: config.eventsMax, keep: config.keep });
  const reaper = scope.own(new Reaper({ hosts, lostVms, logger }), (running) => closeSoon(running.stop()));
  reaper.start();
  watch.start();
  void eventFeed.start();
  return {
    config,
    logger,
    build: { ...UNKNOWN_BUILD, ...options.build },
    instanceId: config.manager.instanceId === "" ? randomUUID() : config.manager.instanceId,
    secretKeys: options.secretKeys,
    identify: options.identify ?? (() => LOCAL_OPERATOR),
    limits: { ...DEFAULT_STREAM_LIMITS, ...options.limits },
    store,
    queue,
    hosts,
    lostVms,
    eventFeed,
    eventLog: new EventLog({ redis, keys }),
    liveConsole: new LiveConsole({ redis, keys }),
    gate,
    watch,
    newVmId: randomUUID,
  };
}

/** Nothing is lost with a connection that does not close in time: a Redis that is away or silent must not hold up an end. */
async function closeSoon(closing: Promise<void>): Promise<void> {
  const timeout = new AbortController();
  try {
    await Promise.race([closing, delay(CLOSE_MAX_MS, undefined, { signal: timeout.signal })]);
  } finally {
    timeout.abort();
  }
}
