import { DroverError } from "../contract/errors.ts";
import type { Config } from "../runtime/config-shape.ts";
import { Scope } from "../runtime/scope.ts";
import { loadSecretKeys } from "../runtime/secret-keys.ts";
import { buildApp } from "./app.ts";
import { type ApiOptions, connectApi } from "./connect-api.ts";
import { usesTls } from "./http-server.ts";

export interface RunningApi {
  /** Where clients reach it, for example `http://127.0.0.1:7003`. */
  readonly url: string;
  /** Ends open streams and waits, answers what is under way, closes the listener and Redis. Idempotent. */
  close(): Promise<void>;
}

/** An answer under way may take this long to be taken once the API is closing; then connections are cut. */
const CLOSE_GRACE_MS = 5_000;

/** Starts the HTTP API. Returns when it listens; Redis may come later, requests get 503 until then. */
export async function startApi(options: ApiOptions): Promise<RunningApi> {
  const { config } = options;
  assertMayListen(config);
  const scope = new Scope();
  try {
    const secretKeys = await loadSecretKeys(config.secrets);
    const app = scope.own(await buildApp(connectApi({ ...options, secretKeys }, scope)), (built) => built.close());
    const { host, port } = config.http;
    const address = await app.listen({ host, port, listenTextResolver: (at) => `the HTTP API listens at ${at}` });
    const url = usesTls(config.http) ? address.replace(/^http:/, "https:") : address;
    let closed: Promise<void> | undefined;
    const close = async () => {
      const cut = setTimeout(() => app.server.closeAllConnections(), CLOSE_GRACE_MS);
      try {
        await scope.close();
      } finally {
        clearTimeout(cut);
      }
    };
    return { url, close: () => (closed ??= close()) };
  } catch (error) {
    await scope.close();
    throw error;
  }
}

/** Nobody is asked who they are yet, so only this machine may ask, unless the operator says otherwise. */
function assertMayListen({ http, insecure }: Config): void {
  const loopback = /^(localhost|::1|\[::1\]|127\.\d+\.\d+\.\d+)$/i.test(http.host);
  if (loopback || insecure) return;
  throw new DroverError(
    "config_invalid",
    `MANAGER_HTTP_HOST=${http.host}: anybody who reaches this address could start and remove VMs, since there is no access control. Listen on 127.0.0.1, or set DROVER_INSECURE=true if the network keeps strangers out.`,
  );
}
