import { setMaxListeners } from "node:events";
import { Server, type ServiceDefinition } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { Scope } from "../../runtime/scope.ts";
import { isLoopback } from "../access/loopback.ts";
import type { ApiDeps } from "../api-deps.ts";
import { cvmPolicy } from "./attestation.ts";
import { countedAs } from "./cocos-metrics.ts";
import { createVm } from "./create-vm.ts";
import { cvmInfo } from "./cvm-info.ts";
import { GivenUpVms } from "./given-up-vms.ts";
import { GrpcCallers } from "./grpc-callers.ts";
import { GrpcListener } from "./grpc-listener.ts";
import { grpcRule } from "./grpc-rules.ts";
import { addHealth } from "./health.ts";
import { managerService, PROTOS } from "./manager-service.ts";
import { removeCvm } from "./remove-vm.ts";
import { unaryCall } from "./unary-call.ts";

/** A request of Cocos's is a few PEM files. */
const MESSAGE_MAX_BYTES = 1_048_576;
const STREAMS_MAX = 100;
/** A client that does not answer a ping is gone, and its calls with it: nothing else tells of a pulled cable. */
const PING_MS = 30_000;
const PONG_MAX_MS = 10_000;
/** From then on a client connects anew, so that clients spread again over several servers. Calls under way go on. */
const CONNECTION_AGE_MS = 30 * 60_000;

export interface RunningGrpc {
  /** `host:port`. */
  readonly address: string;
  /** Ends waits and streams with a status, lets the rest end for a bounded time. Idempotent. */
  close(): Promise<void>;
}

/** Starts the gRPC listener. Returns when it listens; throws the system's error when it cannot. */
export async function startGrpc(deps: ApiDeps): Promise<RunningGrpc> {
  const { config, logger, authenticator, audit, gate, meter } = deps;
  const closing = new AbortController();
  setMaxListeners(0, closing.signal); // one for every call under way
  const callers = new GrpcCallers({
    authenticator,
    audit,
    counting: meter,
    logger,
    readTimeoutMs: config.grpc.readTimeoutMs,
    closing: closing.signal,
  });
  const server = new RuledServer({
    interceptors: [callers.interceptor],
    "grpc.max_receive_message_length": MESSAGE_MAX_BYTES,
    "grpc.max_send_message_length": MESSAGE_MAX_BYTES,
    "grpc.max_concurrent_streams": STREAMS_MAX,
    "grpc.keepalive_time_ms": PING_MS,
    "grpc.keepalive_timeout_ms": PONG_MAX_MS,
    "grpc.max_connection_age_ms": CONNECTION_AGE_MS,
    ...(config.grpc.idleTimeoutMs > 0 ? { "grpc.max_connection_idle_ms": config.grpc.idleTimeoutMs } : {}),
    "grpc.enable_channelz": 0,
  });
  const scope = new Scope();
  const givenUp = scope.own(new GivenUpVms(deps), (vms) => vms.stop());
  const unary = { callers, logger, tracer: deps.tracer, closing: closing.signal };
  server.addService(managerService, {
    CreateVm: unaryCall(unary, countedAs("Run", meter, createVm({ api: deps, givenUp }))),
    RemoveVm: unaryCall(unary, countedAs("Stop", meter, removeCvm(deps))),
    CVMInfo: unaryCall(unary, countedAs("ReturnCVMInfo", meter, cvmInfo(deps))),
    AttestationPolicy: unaryCall(unary, countedAs("FetchAttestationPolicy", meter, cvmPolicy(deps))),
  });
  addHealth(server, { gate, closing: closing.signal });
  if (config.grpcCalls.reflection ?? isLoopback(config.grpc.host)) new ReflectionService(PROTOS).addToServer(server);

  const listener = scope.own(
    await GrpcListener.open(server, { config: config.grpc, tls: deps.tls.grpc, logger }),
    (opened) => opened.close(),
  );
  const { address } = listener;
  logger.info(`the gRPC API listens at ${address}`);
  let closed: Promise<void> | undefined;
  const close = () => {
    closing.abort("closing");
    return scope.close();
  };
  return { address, close: () => (closed ??= close()) };
}

/** A server on which no method can be forgotten: one without an access rule is refused when it is added. */
class RuledServer extends Server {
  override addService(
    service: ServiceDefinition,
    ...rest: Parameters<Server["addService"]> extends [unknown, ...infer R] ? R : never
  ): void {
    for (const { path } of Object.values(service)) grpcRule(path);
    super.addService(service, ...rest);
  }
}
