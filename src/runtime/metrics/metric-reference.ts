import { API_METRICS } from "./api-metrics.ts";
import { FLEET_METRICS } from "./fleet-metrics.ts";
import type { MetricSpec } from "./metric-spec.ts";
import { SHARED_METRICS } from "./shared-metrics.ts";
import { WORKER_METRICS } from "./worker-metrics.ts";

const INTRODUCTION = `# Metrics

<!-- Made from the catalogue (src/runtime/metrics) by \`npm run docs\`. Change it there. -->

API and worker tell Prometheus how they do. Rules that wake people, with a page for each, are in
[runbook.md](runbook.md); a dashboard is in \`deploy/grafana/\`.

| who | where | who may read it |
|---|---|---|
| API | \`/metrics\` on its own listener (7003) | operators: Prometheus shows a token of one; on loopback, while no token exists, everybody |
| worker | \`/metrics\` and \`/health\` on \`DROVER_WORKER_METRICS\` (127.0.0.1:7004, or any free port where that is taken) | everybody on loopback but guests; beyond it who shows the token of \`DROVER_WORKER_METRICS_TOKEN_FILE\` |
| \`drover up\` | the API's; the worker's are in it | as the API |

Look at them:

\`\`\`sh
curl -s http://127.0.0.1:7003/metrics | grep '^drover_vms'
\`\`\`

Where a worker is scraped stands in \`GET /v1/hosts\` (\`metrics\`). A worker beyond loopback is refused at its start while
nobody is asked who they are: name a token file, or set \`DROVER_INSECURE=true\` in a network that keeps strangers out. The
worker's listener speaks no TLS. Its \`/health\` asks nobody: 200 while the loop that fetches VMs turns and the lease is
held, else 503 with the reasons.

## Prometheus

\`deploy/prometheus/prometheus.yml\` scrapes one API and one worker; write yours into it. Prometheus shows a drover token:

\`\`\`text
drover token add --owner prometheus --role operator > /etc/prometheus/drover-token
\`\`\`

Keep that file readable for Prometheus alone: an operator's token may do everything. In the stack of
[containers.md](containers.md) it is \`deploy/prometheus/drover-token\`.

A worker beyond loopback gets a token of its own, never that one, since it travels there without TLS:

\`\`\`text
head -c 32 /dev/urandom | base64 > /etc/drover/metrics-token
\`\`\`

Name the file in \`DROVER_WORKER_METRICS_TOKEN_FILE\` of the worker and in the job \`drover-worker\` of Prometheus. It is read
anew for every scrape, so that it is changed without a restart.

While Redis is away the API still answers a scrape, with \`drover_redis_up 0\` and nothing that was read earlier, to whoever
was let in within the hour before: an API that is started then lets nobody in until Redis is back.

## What the names mean

- The first two metrics are those of the Cocos manager, with its names and labels. As there, the latency is in seconds
  whatever its name says, and a series appears with its first call. They count the gRPC methods, failed calls too
  (\`drover_grpc_calls_total\` tells them apart). Submits over HTTP do not count as \`Run\`: they answer before the VM runs,
  so that their times would say nothing beside those of CreateVm; \`drover_http_requests_total\` has them. Cocos's
  \`go_*\` and \`promhttp_*\` do not exist here, \`process_*\` and \`nodejs_*\` do.
- What is read from Redis is the same at every API: take \`max by (...)\`, never \`sum\`. What a process counts itself is
  summed up as usual.
- \`nodejs_eventloop_lag_*\` counts from 0.1 s: the loop is looked at ten times a second, so that an idle worker sleeps.
- No label holds an id, an owner or a name of a VM. Pools are named by requests; the first 100 are shown, the others as
  \`other\`.
`;

/** docs/metrics.md, made from the catalogue. Pure; a test compares file and text. */
export function renderMetricReference(): string {
  return [
    INTRODUCTION,
    section("API", API_METRICS),
    section("The fleet, as every API reads it from Redis", FLEET_METRICS),
    section("Worker", WORKER_METRICS),
    section("API and worker", SHARED_METRICS),
  ].join("\n");
}

function section(title: string, metrics: Readonly<Record<string, MetricSpec>>): string {
  const rows = Object.entries(metrics).map(([name, { type, help, labels }]) => {
    const told = Object.entries(labels).map(([label, meaning]) => `\`${label}\`: ${meaning}`);
    return `| \`${name}\` | ${type} | ${help} | ${told.join("; ")} |`;
  });
  return [`## ${title}`, "", "| Metric | Kind | Meaning | Labels |", "|---|---|---|---|", ...rows, ""].join("\n");
}
