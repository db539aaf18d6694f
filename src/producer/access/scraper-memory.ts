import { createHash } from "node:crypto";
import { performance } from "node:perf_hooks";
import { DroverError } from "../../contract/errors.ts";
import type { Identify, Principal } from "../principal.ts";
import type { Credentials } from "./authenticator.ts";
import { requestCredentials } from "./request-credentials.ts";

const METRICS_PATH = "/metrics";
/** For so long somebody who was let in may scrape while Redis cannot be asked. */
const REMEMBERED_MS = 3_600_000;
/** Prometheus is one or two. */
const SCRAPERS_MAX = 16;

interface Scraper {
  readonly principal: Principal;
  readonly atMs: number;
}

/**
 * Who asks for metrics is found out as always. While Redis is away, which alone knows tokens, whoever was let in with
 * the same credentials from the same address within the hour before is let in again, for this route only: metrics are
 * needed most when something is broken.
 */
export function rememberScrapers(identify: Identify): Identify {
  const scrapers = new Map<string, Scraper>();
  return async (request) => {
    if (request.routeOptions.url !== METRICS_PATH) return identify(request);
    const credentials = requestCredentials(request);
    const key = keyOf(credentials);
    try {
      const principal = await identify(request);
      scrapers.delete(key);
      scrapers.set(key, { principal, atMs: performance.now() }); // the newest is last
      const [oldest] = scrapers.keys();
      if (scrapers.size > SCRAPERS_MAX && oldest !== undefined) scrapers.delete(oldest);
      return principal;
    } catch (error) {
      const isAway = error instanceof DroverError && error.code === "redis_unavailable";
      if (!isAway) {
        scrapers.delete(key);
        throw error;
      }
      const known = scrapers.get(key);
      if (known === undefined || performance.now() - known.atMs > REMEMBERED_MS) throw error;
      if (known.principal.via === "local" && credentials.isGuest?.() === true) throw error;
      return known.principal;
    }
  };
}

/** Nothing that was shown is kept, only its digest. */
function keyOf({ bearer, session, certificateSubject, proxied, remote }: Credentials): string {
  const shown = [bearer, session, certificateSubject, proxied, remote].map((part) => part ?? null);
  return createHash("sha256").update(JSON.stringify(shown)).digest("base64");
}
