import { openKeyRing } from "../runtime/key-ring.ts";
import { Scope } from "../runtime/scope.ts";
import { closeListenersTls, openListenersTls } from "../runtime/tls/listener-tls.ts";
import { assertMayListen } from "./access/may-listen.ts";
import { buildApp } from "./app.ts";
import { openPolicySigner } from "./attestation-policy.ts";
import { type ApiOptions, connectApi } from "./connect-api.ts";
import { startGrpc } from "./grpc/start-grpc.ts";

export interface RunningApi {
  /** Where clients reach it, for example `http://127.0.0.1:7003`. */
  readonly url: string;
  /** Where gRPC clients reach it, for example `http://127.0.0.1:7001`; their libraries want it without the scheme. */
  readonly grpcUrl: string;
  /** Ends open streams and waits, answers what is under way, closes the listener and Redis. Idempotent. */
  close(): Promise<void>;
}

/** An answer under way may take this long to be taken once the API is closing; then connections are cut. */
const CLOSE_GRACE_MS = 5_000;

/** Starts the HTTP and the gRPC API. Returns when both listen; Redis may come later, requests get 503 until then. */
export async function startApi(options: ApiOptions): Promise<RunningApi> {
  const { config } = options;
  const scope = new Scope();
  try {
    const tls = scope.own(openListenersTls(config, { logger: options.logger }), closeListenersTls);
    const keyRing = scope.own(await openKeyRing({ secrets: config.secrets, logger: options.logger }), (ring) =>
      ring.stop(),
    );
    const policySigner = await openPolicySigner(options);
    const deps = connectApi({ ...options, keyRing, policySigner, tls }, scope);
    await assertMayListen(deps);
    const app = scope.own(await buildApp(deps), (built) => built.close());
    const { host, port } = config.http;
    const urlOf = (at: string) => (tls.http === undefined ? at : at.replace(/^http:/, "https:"));
    const listenTextResolver = (at: string) => `the HTTP API listens at ${urlOf(at)}`;
    const url = urlOf(await app.listen({ host, port, listenTextResolver }));
    const grpc = scope.own(await startGrpc(deps), (started) => started.close());
    const grpcUrl = `${tls.grpc === undefined ? "http" : "https"}://${grpc.address}`;
    let closed: Promise<void> | undefined;
    const close = async () => {
      const cut = setTimeout(() => app.server.closeAllConnections(), CLOSE_GRACE_MS);
      try {
        await scope.close();
      } finally {
        clearTimeout(cut);
      }
    };
    return { url, grpcUrl, close: () => (closed ??= close()) };
  } catch (error) {
    await scope.close();
    throw error;
  }
}
