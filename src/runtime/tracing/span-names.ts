/**
 * What spans are called and what they say. `run`, `stop`, `fetch_attestation_policy` and `return_cvm_info` are those of
 * the Cocos manager; a span of a server is called after its method and route.
 */
export type SpanName =
  | "run"
  | "stop"
  | "fetch_attestation_policy"
  | "return_cvm_info"
  | "queued"
  | LaunchPart
  | LaunchPhase
  | "ready"
  | "stop_guest"
  | ServerSpanName;

/** The three parts of a launch's story that are traced; what lies between them, the life of the guest, has no span. */
export type LaunchPart = "launch" | "adopt" | "end";

/** The steps of a part, in their order. */
export type LaunchPhase =
  | "prepare"
  | "wait_for_boot_place"
  | "open_secrets"
  | "make_files"
  | "spawn"
  | "publish_starting"
  | "wait_for_qmp"
  | "publish_running"
  | "attach"
  | "write_plan"
  | "end_process"
  | "settle";

/** `POST /v1/vms`, `manager.ManagerService/CreateVm`. */
export type ServerSpanName = `${string} /${string}` | `${string}.${string}/${string}`;

/** What a span may say. No owner, no name, nothing out of a request, and no text of an error. */
export interface SpanAttributes {
  readonly vmId?: string | undefined;
  readonly epoch?: number | undefined;
  readonly host?: string | undefined;
  readonly pool?: string | undefined;
  readonly port?: number | undefined;
  readonly cause?: string | undefined;
  readonly outcome?: string | undefined;
  readonly batchId?: string | undefined;
  readonly httpMethod?: string;
  readonly httpRoute?: string;
  readonly httpStatus?: number;
  readonly rpcMethod?: string;
  readonly rpcService?: string;
  readonly rpcStatus?: number;
}

/** Under which names they leave the process: OpenTelemetry's where it has one. */
export const ATTRIBUTE_NAMES = {
  vmId: "drover.vm.id",
  epoch: "drover.vm.epoch",
  host: "drover.host",
  pool: "drover.pool",
  port: "drover.port",
  cause: "drover.cause",
  outcome: "drover.outcome",
  batchId: "drover.batch.id",
  httpMethod: "http.request.method",
  httpRoute: "http.route",
  httpStatus: "http.response.status_code",
  rpcMethod: "rpc.method",
  rpcService: "rpc.service",
  rpcStatus: "rpc.grpc.status_code",
} as const satisfies Record<keyof SpanAttributes, string>;
