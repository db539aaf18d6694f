import { matching, orEmpty } from "./value-types.ts";
import { variable } from "./variable.ts";

/** How a worker is watched; the API has its metrics on its own listener. */
export const WATCHING_VARIABLES = {
  workerListen: variable({
    name: "DROVER_WORKER_METRICS",
    type: orEmpty(matching(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$|^off$/, "host:port, or off")),
    default: "",
    emptyMeans: "127.0.0.1:7004, or any free port where that is taken",
    group: "watching",
    doc: "Where a worker answers /metrics and /health.",
  }),
};
