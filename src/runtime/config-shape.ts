import type { QemuConfig, TeeWish } from "../contract/qemu-config.ts";

/** Everything that can be set, parsed, checked and frozen. Made by `loadConfig` only; passed on as a value. */
export interface Config {
  readonly manager: {
    /** Empty: generated once and kept in the state directory. */
    readonly instanceId: string;
    /** Slots of this host; 0 or less means no limit by slots. */
    readonly maxVms: number;
    readonly eosVersion: string;
    readonly attestationPolicyBinaryPath: string;
    readonly pcrValues: string;
    readonly corimSigningKey: string;
    readonly jaegerUrl: string;
    readonly traceRatio: number;
    readonly logLevel: "debug" | "info" | "warn" | "error";
  };
  readonly http: ListenerConfig;
  readonly grpc: ListenerConfig;
  readonly grpcCalls: {
    /** Where CreateVm's VM runs; undefined: on the answering machine where it has a worker, else anywhere. */
    readonly place: "here" | "any" | undefined;
    /** What becomes of a VM whose caller gave up or hung up before it ran. */
    readonly onCancel: "keep" | "remove";
    /** How long CreateVm waits for a caller that has set no deadline. */
    readonly createTimeoutMs: number;
    /** Undefined: on for a loopback listener, off elsewhere. */
    readonly reflection: boolean | undefined;
    /** What a gRPC caller without token and certificate may be. */
    readonly anonymous: "none" | "submitter";
  };
  readonly qemu: QemuConfig;
  readonly teeWish: TeeWish;
  readonly redis: {
    readonly url: string;
    /** Key prefix with braces, so that all keys share one hash slot. */
    readonly prefix: string;
    /** How long the API waits for one answer of Redis before it says 503. */
    readonly commandTimeoutMs: number;
    /** PEM text or path; for a `rediss://` server of a private CA. */
    readonly caCerts: string;
    readonly clientCert: string;
    readonly clientKey: string;
    /** A Redis beyond loopback without a password is allowed. */
    readonly insecure: boolean;
  };
  readonly stateDir: string;
  readonly firmware: "ovmf" | "seabios";
  readonly diskMode: "overlay" | "copy";
  /** Address that forwarded ports are bound to; undefined: decided at start (loopback or all interfaces). */
  readonly forwardBind: string | undefined;
  /** Address under which clients reach this host; undefined: the source address towards Redis. */
  readonly hostAddress: string | undefined;
  readonly pools: readonly string[];
  readonly maxBoots: number;
  readonly sharesReadonly: boolean;
  readonly sandbox: boolean;
  readonly qemuProcess: {
    /** Unprivileged user that QEMU runs as; undefined: the worker's own. */
    readonly user: string | undefined;
    /** How memory and processors of a QEMU are limited. */
    readonly limits: "auto" | "cgroup" | "systemd" | "off";
    /** What QEMU may use beside the guest's memory, in bytes. */
    readonly memoryOverheadBytes: number;
  };
  readonly secrets: {
    /** `id:base64` pairs, first one seals; empty when none is set. */
    readonly keys: string;
    readonly keyFile: string;
  };
  readonly launch: {
    readonly attempts: number;
    readonly backoffMs: number;
    readonly backoffMaxMs: number;
    /** 0: no boot deadline unless the request has one. */
    readonly bootTimeoutMs: number;
    /** How long QEMU may take to greet and answer on QMP. */
    readonly qmpTimeoutMs: number;
    /** How long a port that a foreign process held is set aside. */
    readonly portAsideMs: number;
  };
  readonly stop: { readonly powerdownMs: number; readonly quitMs: number; readonly termMs: number };
  readonly reconcileMs: number;
  readonly sweepMs: number;
  readonly keep: {
    readonly completedMs: number;
    readonly failedMs: number;
    /** How long a failed VM's sealed secrets stay, for a retry by hand. */
    readonly failedSecretsMs: number;
    /** How long removal marks and idempotency keys outlive the record. */
    readonly marksMs: number;
    readonly idempotencyMs: number;
  };
  readonly lease: { readonly ttlMs: number; readonly renewMs: number };
  readonly hostLost: {
    /** What others do with this host's VMs when it is lost. */
    readonly policy: "rerun" | "hold";
    readonly afterMs: number;
    /** What this host's worker does with its VMs when it cannot reach Redis for `afterMs`. */
    readonly onPartition: "keep" | "stop";
    /** How long a worker that was stopped on purpose may stay away. */
    readonly awayMaxMs: number;
  };
  readonly placement: {
    /** Bytes of the host's memory that no VM gets. `auto`: what `hostMemory` makes of it; `off`: memory is not counted. */
    readonly memoryReserve: number | "auto" | "off";
    readonly memoryClasses: readonly MemoryClassSize[];
    readonly hostLabels: Readonly<Record<string, string>>;
  };
  readonly batches: {
    readonly itemsMax: number;
    readonly bytesMax: number;
    /** VMs of one batch that have a record and have not ended, at most. */
    readonly windowItems: number;
    readonly keepMs: number;
  };
  readonly watching: {
    /** Where the worker answers /metrics; undefined: at the usual place, or any other on loopback. */
    readonly workerListen: WatchAddress | "off" | undefined;
    /** File with the token that is asked for; empty: none is. */
    readonly workerTokenFile: string;
  };
  /** Fail points for tests; empty in every other life. */
  readonly failpoint: string;
  readonly eventsMax: number;
  /** Host names beside loopback and the listener's own that the API answers to. */
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly insecure: boolean;
  readonly auth: {
    /** A token, a session or a certificate is asked of everybody, also on loopback and while no token exists. */
    readonly required: boolean;
    readonly sessionMs: number;
    /** Requests per minute of one principal; 0: no limit. The local operator has none. */
    readonly rateLimit: number;
  };
  readonly attestation: {
    /** `cocos`: the untagged shape that Cocos's generator gives. */
    readonly corimCompat: "draft" | "cocos";
    /** Name of the signer in signed policies. */
    readonly corimSigner: string;
    /** Security version number of SEV-SNP policies; 0: none. */
    readonly corimSvn: number;
    /** Path of the JSON file with MRTD, MRSEAM and RTMR0 to RTMR3; empty: TDX policies are refused. */
    readonly tdxMeasurements: string;
  };
}

/** Where a listener without TLS of its own listens. */
export interface WatchAddress {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

export interface ListenerConfig {
  readonly host: string;
  readonly port: number;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly serverCaCerts: string;
  readonly clientCaCerts: string;
  readonly readTimeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly readHeaderTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly maxHeaderBytes: number;
}

/** A size of memory that requests may ask for by its name. */
export interface MemoryClassSize {
  readonly name: string;
  /** As QEMU's -m takes it. */
  readonly size: string;
  readonly bytes: number;
}
