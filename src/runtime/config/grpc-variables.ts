import { choice, optional, optionalBool, timeout } from "./value-types.ts";
import { variable } from "./variable.ts";

/** How calls of Cocos's clients are answered. */
export const GRPC_CALL_VARIABLES = {
  place: variable({
    name: "DROVER_GRPC_PLACE",
    type: optional(choice("here", "any")),
    default: "",
    emptyMeans: "here where this machine has a worker, else any",
    group: "grpc",
    doc: "Where CreateVm's VM runs: on the machine that was called, so that the bare port of its answer is right, or on any host.",
  }),
  onCancel: variable({
    name: "DROVER_GRPC_ON_CANCEL",
    type: choice("keep", "remove"),
    default: "keep",
    group: "grpc",
    doc: "What becomes of a VM whose caller gave up, or ran into its deadline, before the VM ran.",
  }),
  createTimeoutMs: variable({
    name: "DROVER_GRPC_CREATE_TIMEOUT",
    type: timeout,
    default: "10m",
    group: "grpc",
    doc: "How long CreateVm waits for the VM when the caller has set no deadline (cocos-cli sets none).",
  }),
  reflection: variable({
    name: "DROVER_GRPC_REFLECTION",
    type: optionalBool,
    default: "",
    emptyMeans: "on for loopback, off elsewhere",
    group: "grpc",
    doc: "Whether the gRPC listener describes its services to callers.",
  }),
  anonymous: variable({
    name: "DROVER_GRPC_ANONYMOUS",
    type: choice("none", "submitter"),
    default: "none",
    group: "grpc",
    doc: "What a gRPC caller without token and certificate may be; cocos-cli has no token.",
  }),
};
