import { type Mutant, tests } from "./mutant.ts";

const http = tests("redis", "redis/http-metrics");
const memory = tests("unit", "unit/producer/scraper-memory");
const grpc = tests("redis", "redis/grpc-metrics");
const stores = tests("redis", "redis/metered-stores");
const meter = tests("unit", "unit/runtime/metrics/meter");
const watch = tests("unit", "unit/worker/watch-server");
const WATCH_SERVER = "src/worker/watch-server.ts";

/** Breaks of what tells how drover does, and to whom. */
export const METRIC_MUTANTS: readonly Mutant[] = [
  {
    name: "metrics: a gauge without labels stays at 0",
    file: "src/runtime/metrics/meter.ts",
    before:
      "      gauge.remove({}); // of a gauge without labels a reset leaves a 0, which is a value like any other\n",
    after: "",
    killers: [meter("what nobody tells any more is not shown"), http("without anything stale")],
    why: "while Redis is away a scrape would say that no VM waits and no key was evicted",
  },
  {
    name: "metrics: every scrape asks Redis",
    file: "src/producer/fleet-gauges.ts",
    before: "if (performance.now() - readAtMs >= FRESH_MS) {",
    after: "if (performance.now() - readAtMs >= 0) {",
    killers: [http("ask Redis once")],
    why: "several that scrape would burden Redis several times",
  },
  {
    name: "metrics: pools without end",
    file: "src/queue/fleet-figures.ts",
    before: "const POOLS_MAX = 100;",
    after: "const POOLS_MAX = 1_000_000;",
    killers: [http("however many pools requests name")],
    why: "whoever submits could make the metrics as large as they like",
  },
  {
    name: "metrics: the path of a request is its label",
    file: "src/producer/request-metrics.ts",
    before: '(routeOptions.url ?? "none")',
    after: "request.url",
    killers: [http("requests are counted by their route"), http("no series is anybody's own")],
    why: "every id that is asked for would be a series of its own",
  },
  {
    name: "metrics: a scraper needs Redis",
    file: "src/producer/access/scraper-memory.ts",
    before: "    if (request.routeOptions.url !== METRICS_PATH) return identify(request);\n",
    after: "    if (METRICS_PATH !== null) return identify(request);\n",
    killers: [memory("whoever scraped before goes on")],
    why: "metrics are needed most when something is broken",
  },
  {
    name: "metrics: while Redis is away everybody may scrape",
    file: "src/producer/access/scraper-memory.ts",
    before: "const shown = [bearer, session, certificateSubject, proxied, remote]",
    after: "const shown = [session, certificateSubject, proxied, remote]",
    killers: [memory("whoever scraped before goes on")],
    why: "a wrong token would do once the right one was seen",
  },
  {
    name: "metrics: Cocos's times in microseconds",
    file: "src/producer/grpc/cocos-metrics.ts",
    before: "(performance.now() - startedMs) / 1_000",
    after: "(performance.now() - startedMs) * 1_000",
    killers: [grpc("in seconds")],
    why: "dashboards of Cocos read seconds there, whatever the name says",
  },
  {
    name: "metrics: refused moves are not counted",
    file: "src/worker/metered-stores.ts",
    before: 'if (outcome === "not_owner" || outcome === "no_record" || outcome === "wrong_state")',
    after: 'if (outcome === "no_record")',
    killers: [stores("counted as fenced")],
    why: "two workers with one identity would go unnoticed",
  },
  {
    name: "metrics: whatever token is shown to a worker does",
    file: WATCH_SERVER,
    before: "return timingSafeEqual(tokenDigest(token.trim()), tokenDigest(shown));",
    after: "return timingSafeEqual(tokenDigest(token.trim()), tokenDigest(token.trim())) || shown !== token;",
    killers: [watch("then asks for the token of the file")],
    why: "other machines would read what runs on a host",
  },
  {
    name: "metrics: a worker answers to any name",
    file: WATCH_SERVER,
    before: 'if (!isLoopbackHost(hostOf(headers.host ?? ""))) return plain(421, "ask for 127.0.0.1 or localhost");',
    after: "",
    killers: [watch("a web page, another method")],
    why: "a page in a browser on the host could read them under a name of its own",
  },
];
