import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { CoseSigner } from "../attestation/cose-sign.ts";
import { BatchStore } from "../queue/batch-store.ts";
import { openRedis, type RedisClient } from "../queue/connection.ts";
import { EventFeed } from "../queue/event-feed.ts";
import { EventLog } from "../queue/event-log.ts";
import { FailureStore } from "../queue/failure-store.ts";
import { readFleetFigures } from "../queue/fleet-figures.ts";
import { HostRegistry } from "../queue/host-registry.ts";
import { LiveConsole } from "../queue/live-console.ts";
import { LostVms } from "../queue/lost-vms.ts";
import { openBatchFeeder } from "../queue/open-batch-feeder.ts";
import { Reaper } from "../queue/reaper.ts";
import { redisKeys } from "../queue/redis-keys.ts";
import { timeScripts } from "../queue/script-timing.ts";
import { SessionStore } from "../queue/session-store.ts";
import { Sweeper } from "../queue/sweeper.ts";
import { TokenStore } from "../queue/token-store.ts";
import { VmQueue } from "../queue/vm-queue.ts";
import { VmStore } from "../queue/vm-store.ts";
import { VmUpkeep } from "../queue/vm-upkeep.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { KeyRing } from "../runtime/key-ring.ts";
import { Meter } from "../runtime/metrics/meter.ts";
import type { Scope } from "../runtime/scope.ts";
import type { ListenersTls } from "../runtime/tls/listener-tls.ts";
import { NO_TRACING, type Tracing } from "../runtime/tracing/open-tracing.ts";
import { DROVER_VERSION } from "../runtime/version.ts";
import { AccessControl } from "./access/access-control.ts";
import { auditLog } from "./access/audit.ts";
import { requestCredentials } from "./access/request-credentials.ts";
import { rememberScrapers } from "./access/scraper-memory.ts";
import { type ApiDeps, type BuildInfo, DEFAULT_STREAM_LIMITS, type StreamLimits } from "./api-deps.ts";
import { FleetSnapshot } from "./fleet-snapshot.ts";
import type { Identify } from "./principal.ts";
import { RedisGate } from "./redis-gate.ts";
import { VmWatch } from "./vm-watch.ts";

export interface ApiOptions {
  readonly config: Config;
  readonly logger: Logger;
  /** What /health says was built. */
  readonly build?: Partial<BuildInfo>;
  readonly identify?: Identify;
  readonly limits?: Partial<StreamLimits>;
  /** Signs attestation policies; without it they are not signed. */
  readonly policySigner?: CoseSigner | undefined;
  /** Without TLS when left out. */
  readonly tls?: ListenersTls;
  /** Of this API alone when left out. */
  readonly meter?: Meter;
  /** Traces nothing when left out. */
  readonly tracing?: Tracing;
}

/** As Cocos says it of a binary that was built without these. */
const UNKNOWN_BUILD: BuildInfo = { version: DROVER_VERSION, commit: "ffffffff", buildTime: "1970-01-01_00:00:00" };

/** Clients are promised their 503 within 250 ms of a Redis that fell silent; a slow answer of a live one may take longer. */
const SILENCE_MAX_MS = 200;

const CLOSE_MAX_MS = 500;

/** The parts that the API stands on. All connect in the background and are closed with the scope. */
export function connectApi(options: ApiOptions & { readonly keyRing: KeyRing }, scope: Scope): ApiDeps {
  const { config, logger } = options;
  const { prefix, commandTimeoutMs } = config.redis;
  const open = (role: "api" | "blocking", name: string): RedisClient =>
    scope.own(openRedis({ ...config.redis, role, name, logger }), (client) => client.disconnect());
  const keys = redisKeys(prefix);
  const redis = open("api", "drover-api");
  const meter = options.meter ?? new Meter();
  meter.declare("api");
  timeScripts(redis, meter);
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
  const sweeper = scope.own(
    new Sweeper({ store, upkeep, queue, logger, intervalMs: config.sweepMs, counting: meter }),
    (running) => closeSoon(running.stop()),
  );
  sweeper.start();
  const hosts = new HostRegistry({ redis, keys });
  const lostVms = new LostVms({ redis, keys, eventsMax: config.eventsMax, keep: config.keep });
  const reaper = scope.own(new Reaper({ hosts, lostVms, logger, counting: meter }), (running) =>
    closeSoon(running.stop()),
  );
  reaper.start();
  const instanceId = config.manager.instanceId === "" ? randomUUID() : config.manager.instanceId;
  const tracer = (options.tracing ?? NO_TRACING).tracer({ role: "api", hostId: instanceId });
  const blocking = open("blocking", "drover-api-batches");
  const feeder = scope.own(
    openBatchFeeder({ config, redis, blocking, keys, store, queue, keyRing: options.keyRing, tracer, logger }),
    (running) => closeSoon(running.stop()),
  );
  feeder.start();
  const tokens = new TokenStore({ redis, keys });
  const sessions = new SessionStore({ redis, keys });
  const access = new AccessControl({ config, tokens, sessions, gate, logger });
  watch.start();
  void eventFeed.start();
  return {
    config,
    logger,
    build: { ...UNKNOWN_BUILD, ...options.build },
    instanceId,
    keyRing: options.keyRing,
    policySigner: options.policySigner,
    identify: options.identify ?? rememberScrapers((request) => access.identify(requestCredentials(request))),
    authenticator: access,
    audit: auditLog(logger),
    allowance: (principal, from) => access.allowance(principal, from),
    tokens,
    tls: options.tls ?? { http: undefined, grpc: undefined },
    sessions,
    limits: { ...DEFAULT_STREAM_LIMITS, ...options.limits },
    store,
    batches: new BatchStore({ redis, keys }),
    queue,
    hosts,
    fleet: new FleetSnapshot(hosts),
    lostVms,
    failures: new FailureStore({ redis, keys, keep: config.keep }),
    eventFeed,
    eventLog: new EventLog({ redis, keys }),
    liveConsole: new LiveConsole({ redis, keys }),
    gate,
    watch,
    meter,
    readFigures: () => readFleetFigures({ redis, keys }, eventFeed.lastId),
    tracer,
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
