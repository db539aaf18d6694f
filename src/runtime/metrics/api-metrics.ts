import { everyPair, type MetricSpec, PLAIN } from "./metric-spec.ts";

const HTTP_SECONDS = [0.005, 0.02, 0.1, 0.5, 2, 10];

/** What an API counts of its own work. The first two are those of the Cocos manager, name by name. */
export const API_METRICS = {
  manager_api_request_count: {
    type: "counter",
    help: "Number of requests received.",
    labels: { method: "`Run`, `Stop`, `FetchAttestationPolicy`, `ReturnCVMInfo`" },
  },
  manager_api_request_latency_microseconds: {
    type: "summary",
    help: "Total duration of requests in microseconds.",
    labels: { method: "`Run`, `Stop`, `FetchAttestationPolicy`, `ReturnCVMInfo`" },
  },
  drover_http_requests_total: {
    type: "counter",
    help: "HTTP requests that were answered.",
    labels: {
      method: "`GET`, `POST`, `DELETE`, ...",
      route: "the route as docs/api.md writes it, `none` for a path that there is not",
      status: "the HTTP status",
    },
  },
  drover_http_request_seconds: {
    type: "histogram",
    help: "How long an HTTP request took until its answer was sent. Open answers (events, followed consoles) are left out.",
    labels: { route: "as above" },
    buckets: HTTP_SECONDS,
  },
  drover_grpc_calls_total: {
    type: "counter",
    help: "Calls of gRPC that have ended.",
    labels: { method: "the method's name, `other` for one that there is not", code: "the status, for example `OK`" },
  },
  drover_grpc_call_seconds: {
    type: "histogram",
    help: "How long a gRPC call took. CreateVm waits until the VM runs.",
    labels: { method: "as above" },
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
  },
  drover_access_refused_total: {
    type: "counter",
    help: "Requests and calls that were refused because of who asked.",
    labels: { protocol: "`http`, `grpc`", outcome: "`unauthenticated`, `forbidden`, `too_many_requests`" },
    zeros: everyPair(
      ["protocol", ["http", "grpc"]],
      ["outcome", ["unauthenticated", "forbidden", "too_many_requests"]],
    ),
  },
  drover_open_streams: {
    type: "gauge",
    help: "Event streams and followed consoles that are open.",
    labels: { stream: "`events`, `console`" },
  },
  drover_event_lag_seconds: {
    type: "gauge",
    help: "Age of the oldest event that this API has not handed on yet; 0 when it has handed on all.",
    labels: PLAIN,
  },
  drover_certificate_expires_seconds: {
    type: "gauge",
    help: "Time until the certificate of a listener ends; below 0 once it has.",
    labels: { listener: "`http`, `grpc`" },
  },
} as const satisfies Record<string, MetricSpec>;
