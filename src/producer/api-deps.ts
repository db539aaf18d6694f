import type { Logger } from "pino";
import type { CoseSigner } from "../attestation/cose-sign.ts";
import type { BatchStore } from "../queue/batch-store.ts";
import type { EventFeed } from "../queue/event-feed.ts";
import type { EventLog } from "../queue/event-log.ts";
import type { FailureStore } from "../queue/failure-store.ts";
import type { FleetFigures } from "../queue/fleet-figures.ts";
import type { HostRegistry } from "../queue/host-registry.ts";
import type { LiveConsole } from "../queue/live-console.ts";
import type { LostVms } from "../queue/lost-vms.ts";
import type { SessionStore } from "../queue/session-store.ts";
import type { TokenStore } from "../queue/token-store.ts";
import type { VmQueue } from "../queue/vm-queue.ts";
import type { VmStore } from "../queue/vm-store.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { KeyRing } from "../runtime/key-ring.ts";
import type { Meter } from "../runtime/metrics/meter.ts";
import type { ListenersTls } from "../runtime/tls/listener-tls.ts";
import type { Tracer } from "../runtime/tracing/tracer.ts";
import type { Audit } from "./access/audit.ts";
import type { Authenticator } from "./access/authenticator.ts";
import type { Allowance } from "./access/rate-limit.ts";
import type { FleetSnapshot } from "./fleet-snapshot.ts";
import type { Identify, Principal } from "./principal.ts";
import type { RedisGate } from "./redis-gate.ts";
import type { VmWatch } from "./vm-watch.ts";

/** What was built, for /health: the parts of Cocos's answer. */
export interface BuildInfo {
  readonly version: string;
  readonly commit: string;
  readonly buildTime: string;
}

/** Paces and bounds of open answers; settable so that tests are quick. */
export interface StreamLimits {
  /** A silent event stream sends a heartbeat this often. */
  readonly heartbeatMs: number;
  /** A reader that takes nothing for this long, while something is there for it, is cut. */
  readonly stallMs: number;
  /** What waits for one slow reader of the event stream at most; with more it is cut. */
  readonly backlogMaxEvents: number;
  readonly eventClientsMax: number;
  readonly consoleClientsMax: number;
  readonly uploadsMax: number;
  /** How often a followed console is read while it moves; a quiet one is read less often. */
  readonly consolePollMs: number;
  /** An open answer is cut this soon after its reader's token has been removed, or a little later. */
  readonly recheckCallerMs: number;
  /** A wait looks at the record at least this often, should an event have been missed. */
  readonly recheckMs: number;
}

export const DEFAULT_STREAM_LIMITS: StreamLimits = {
  heartbeatMs: 15_000,
  stallMs: 20_000,
  backlogMaxEvents: 2_000,
  eventClientsMax: 256,
  consoleClientsMax: 64,
  uploadsMax: 16,
  consolePollMs: 250,
  recheckCallerMs: 30_000,
  recheckMs: 5_000,
};

/** Everything the HTTP API stands on. */
export interface ApiDeps {
  readonly config: Config;
  readonly logger: Logger;
  readonly build: BuildInfo;
  readonly instanceId: string;
  readonly store: VmStore;
  readonly batches: BatchStore;
  readonly queue: VmQueue;
  readonly hosts: HostRegistry;
  readonly fleet: FleetSnapshot;
  readonly lostVms: LostVms;
  readonly failures: FailureStore;
  readonly eventLog: EventLog;
  readonly eventFeed: EventFeed;
  readonly liveConsole: LiveConsole;
  readonly gate: RedisGate;
  readonly watch: VmWatch;
  readonly keyRing: KeyRing;
  /** Signs attestation policies; undefined: they are not signed. */
  readonly policySigner: CoseSigner | undefined;
  readonly identify: Identify;
  readonly authenticator: Authenticator;
  readonly audit: Audit;
  /** What a caller may still ask by the limit of requests. */
  readonly allowance: (principal: Principal, from: { readonly remote: string }) => Allowance | undefined;
  readonly tokens: TokenStore;
  /** Logins of browsers. */
  readonly sessions: SessionStore;
  /** Certificates of the listeners, in their newest state. */
  readonly tls: ListenersTls;
  readonly limits: StreamLimits;
  readonly meter: Meter;
  /** Counts how the queue stands, for the metrics. */
  readonly readFigures: () => Promise<FleetFigures>;
  readonly tracer: Tracer;
  readonly newVmId: () => string;
}
