import { type handleServerStreamingCall, type handleUnaryCall, type Server, status } from "@grpc/grpc-js";
import type { RedisGate } from "../redis-gate.ts";
import { type HealthRequest, type HealthResponse, healthService } from "./manager-service.ts";

type Health = HealthResponse["status"];

/** The whole server, and Cocos's service. */
const SERVICES: readonly string[] = ["", "manager"];
/** While somebody watches, Redis is asked this often, for all of them at once. */
const LOOK_MS = 1_000;
/** Nobody is asked who they are here, so that there must be an end to it. */
const WATCHERS_MAX = 256;

/** Says that this server serves while Redis answers and it is not closing. Redis is asked when somebody asks. */
export function addHealth(
  server: Pick<Server, "addService">,
  { gate, closing }: { readonly gate: Pick<RedisGate, "check">; readonly closing: AbortSignal },
): void {
  const look = async (): Promise<Health> => {
    if (closing.aborted) return "NOT_SERVING";
    return gate.check().then(
      () => "SERVING",
      () => "NOT_SERVING",
    );
  };
  const watchers = new HealthWatchers(look);
  closing.addEventListener("abort", () => watchers.tell("NOT_SERVING"), { once: true });

  const check: handleUnaryCall<HealthRequest, HealthResponse> = ({ request }, callback) => {
    if (!SERVICES.includes(request.service))
      callback({ code: status.NOT_FOUND, details: 'there are the services "" and "manager" only' });
    else void look().then((found) => callback(null, { status: found }));
  };
  const watch: handleServerStreamingCall<HealthRequest, HealthResponse> = (call) => {
    if (watchers.size >= WATCHERS_MAX) {
      const details = `${WATCHERS_MAX} callers watch already; use Check`;
      call.emit("error", { code: status.RESOURCE_EXHAUSTED, details });
      return;
    }
    const isKnown = SERVICES.includes(call.request.service);
    let last: Health | undefined;
    const watcher = (found: Health) => {
      const shown = isKnown ? found : "SERVICE_UNKNOWN"; // then too the stream stays open, as the protocol wants it
      if (shown === last || call.cancelled) return;
      last = shown;
      call.write({ status: shown });
    };
    watchers.add(watcher);
    call.on("cancelled", () => watchers.delete(watcher));
  };
  server.addService(healthService, { Check: check, Watch: watch });
}

/** Looks for all watchers at once, and only while there are some. */
class HealthWatchers {
  readonly #look: () => Promise<Health>;
  readonly #watchers = new Set<(found: Health) => void>();
  #looking: NodeJS.Timeout | undefined;

  constructor(look: () => Promise<Health>) {
    this.#look = look;
  }

  get size(): number {
    return this.#watchers.size;
  }

  add(watcher: (found: Health) => void): void {
    this.#watchers.add(watcher);
    this.#looking ??= setInterval(() => void this.#lookAndTell(), LOOK_MS);
    void this.#look().then(watcher);
  }

  delete(watcher: (found: Health) => void): void {
    this.#watchers.delete(watcher);
    if (this.#watchers.size > 0) return;
    clearInterval(this.#looking);
    this.#looking = undefined;
  }

  tell(found: Health): void {
    for (const watcher of this.#watchers) watcher(found);
  }

  async #lookAndTell(): Promise<void> {
    this.tell(await this.#look());
  }
}
