import { randomUUID } from "node:crypto";
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerListener,
  status,
} from "@grpc/grpc-js";
import type { Logger } from "pino";
import { DroverError } from "../../contract/errors.ts";
import { mayAct } from "../../contract/role.ts";
import type { Counting } from "../../runtime/metrics/meter.ts";
import { standingSubject } from "../../runtime/tls/certificate-subject.ts";
import type { Audit } from "../access/audit.ts";
import type { Authenticator } from "../access/authenticator.ts";
import { isGuestConnection } from "../access/guest-connection.ts";
import { isLoopback } from "../access/loopback.ts";
import { PROXY_HEADERS } from "../access/proxy-headers.ts";
import { RateExceeded } from "../access/rate-limit.ts";
import { noteRefusal } from "../access/refusals.ts";
import type { Principal } from "../principal.ts";
import { grpcRule, methodName } from "./grpc-rules.ts";
import { isUnforeseen, outcomeOf, ownStatus, toStatus } from "./grpc-status.ts";

/** Who makes a call, and under which id the log speaks of it. */
export interface Caller {
  /** Undefined for a method that asks nobody who they are. */
  readonly principal: Principal | undefined;
  readonly requestId: string;
  /** Address without port. */
  readonly remote: string;
}

export interface GrpcCallersDeps {
  readonly authenticator: Authenticator;
  readonly audit: Audit;
  readonly counting: Counting;
  readonly logger: Logger;
  /** How long a request may take to arrive once its headers are here; 0: no limit. */
  readonly readTimeoutMs: number;
  /** Aborted when the server closes: calls that only stream are ended then. */
  readonly closing: AbortSignal;
}

/** Methods that change something, in the words of the audit. */
const AUDITED_METHODS: Readonly<Record<string, string>> = {
  "/manager.ManagerService/CreateVm": "vm.submit",
  "/manager.ManagerService/RemoveVm": "vm.remove",
};

/**
 * The one gate that every call of every service passes: it finds out who calls before a byte of the message is read,
 * bounds how long the message may take, and logs the end of each call. A handler that asks for the caller of a call that
 * has not passed throws.
 */
export class GrpcCallers {
  readonly #deps: GrpcCallersDeps;
  readonly #known = new WeakMap<Metadata, Caller>();

  constructor(deps: GrpcCallersDeps) {
    this.#deps = deps;
  }

  /** The caller of a call, by the metadata that its handler was given. */
  of(metadata: Metadata): Caller {
    const caller = this.#known.get(metadata);
    if (caller === undefined) throw new Error("a gRPC handler ran without a caller");
    return caller;
  }

  readonly interceptor: ServerInterceptor = ({ path, requestStream, responseStream }, call) => {
    const caller = { requestId: randomUUID(), remote: remoteOf(call) };
    const over = this.#watch(path, call, { isStream: requestStream || responseStream, ...caller });
    const listener: ServerListener = {
      onReceiveMetadata: (metadata, pass) => {
        this.#admit(path, { metadata, call, ...caller }).then((principal) => {
          this.#known.set(metadata, { ...caller, principal });
          over.expectMessage();
          pass(metadata);
        }, over.end);
      },
      onReceiveHalfClose: (pass) => {
        over.messageArrived();
        pass();
      },
      onCancel: () => over.noteCancelled(),
    };
    return new ServerInterceptingCall(call, { start: (next) => next(listener) });
  };

  /**
   * The principal of a call, undefined where nobody is asked. Who may not do it is in the audit, if it changes something
   * or was asked for with a token that does not fit or a role that is not enough.
   */
  async #admit(
    path: string,
    {
      metadata,
      call,
      remote,
      requestId,
    }: { metadata: Metadata; call: ServerInterceptingCallInterface; remote: string; requestId: string },
  ): Promise<Principal | undefined> {
    const needed = grpcRule(path);
    if (needed === "public") return undefined;
    let principal: Principal | undefined;
    const bearer = bearerOf(metadata);
    try {
      const proxied = PROXY_HEADERS.some((name) => metadata.get(name).length > 0) || !isLoopback(calledHost(call));
      const shown = {
        bearer,
        certificateSubject: subjectOf(call),
        proxied,
        remote,
        isGuest: () => isGuestConnection(call.getConnectionInfo()),
      };
      principal = await this.#deps.authenticator.identify({ protocol: "grpc", ...shown });
      if (mayAct(principal.role, needed)) return principal;
      throw new DroverError(
        "forbidden",
        `${path.slice(1)} needs the role ${needed}, and you (${principal.owner}) are ${principal.role}; an operator gives roles with \`drover token add --role ${needed}\``,
      );
    } catch (error) {
      if (error instanceof RateExceeded) principal = error.principal;
      const outcome = outcomeOf(error);
      noteRefusal(this.#deps.counting, "grpc", outcome);
      const refused = outcome === "forbidden" || (outcome === "unauthenticated" && bearer !== undefined);
      const action = AUDITED_METHODS[path] ?? (refused ? "access" : undefined);
      if (action !== undefined)
        this.#deps.audit.note({ principal, action, target: "", remote, protocol: "grpc", outcome, requestId });
      throw error;
    }
  }

  /** Ends a call that nobody else would end, and logs how each one ended, once. */
  #watch(
    path: string,
    call: ServerInterceptingCallInterface,
    { isStream, requestId, remote }: { isStream: boolean; requestId: string; remote: string },
  ) {
    const { counting, logger, readTimeoutMs, closing } = this.#deps;
    const startedAtMs = performance.now();
    let late: NodeJS.Timeout | undefined;
    let isOver = false;
    const finish = (how: string) => {
      clearTimeout(late);
      closing.removeEventListener("abort", endStream);
      if (isOver) return;
      isOver = true;
      const method = methodName(path);
      counting.count("drover_grpc_calls_total", { method, code: how });
      if (!isStream)
        counting.observe("drover_grpc_call_seconds", { method }, (performance.now() - startedAtMs) / 1_000);
      const line = {
        requestId,
        method: path,
        status: how,
        ms: Math.round(performance.now() - startedAtMs),
        from: remote,
      };
      if (how === "INTERNAL" || how === "UNKNOWN") logger.warn(line, "call failed");
      else if (isPolled(path)) logger.debug(line, "call");
      else logger.info(line, "call");
    };
    // On the call itself: what grpc-js refuses by itself passes no interceptor.
    const sendStatus = call.sendStatus.bind(call);
    call.sendStatus = (ended) => {
      const judged = ownStatus(ended, requestId);
      if (judged !== ended && judged.code === status.INTERNAL)
        logger.error({ requestId, method: path, reason: ended.details }, "gRPC could not end a call as it should");
      finish(status[judged.code ?? status.UNKNOWN] ?? "UNKNOWN");
      sendStatus(judged);
    };
    const end = (error: unknown) => {
      if (isUnforeseen(error)) logger.error({ err: error, requestId, method: path }, "a call failed unexpectedly");
      call.sendStatus(toStatus(error, requestId));
    };
    // After this turn, so that a health watch has told its last news.
    const endStream = () =>
      setImmediate(() => end(new DroverError("shutting_down", "this server is shutting down; ask another one")));
    if (isStream) closing.addEventListener("abort", endStream, { once: true });
    return {
      end,
      expectMessage() {
        if (isStream || readTimeoutMs === 0) return;
        const error = new DroverError("request_timeout", `the request did not arrive within ${readTimeoutMs} ms`);
        late = setTimeout(() => end(error), readTimeoutMs);
      },
      messageArrived: () => clearTimeout(late),
      noteCancelled: () => finish("CANCELLED"),
    };
  }
}

/** Asked every few seconds by whoever watches. */
function isPolled(path: string): boolean {
  return path.startsWith("/grpc.health.");
}

/** The token of `authorization: Bearer <token>`. Anything else that was sent there counts as a token of nobody. */
function bearerOf(metadata: Metadata): string | undefined {
  const values = metadata.get("authorization").map(String);
  if (values.length === 0) return undefined;
  const [, token = ""] = /^Bearer +(\S+) *$/i.exec(values.join(",")) ?? [];
  return token;
}

/** Of a client certificate that TLS has verified; grpc-js shows no other. */
function subjectOf(call: ServerInterceptingCallInterface): string | undefined {
  const certificate = call.getAuthContext().sslPeerCertificate;
  return certificate === undefined ? undefined : standingSubject(certificate);
}

/** The name that the caller knows this server by, without port; a proxy may pass on its own. */
function calledHost(call: ServerInterceptingCallInterface): string {
  return call.getHost().replace(/:\d+$/, "");
}

function remoteOf(call: ServerInterceptingCallInterface): string {
  return (call.getConnectionInfo().remoteAddress ?? "").replace(/^::ffff:/, "");
}
