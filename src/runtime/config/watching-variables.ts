import type { WatchAddress } from "../config-shape.ts";
import { line, listenPort } from "./value-types.ts";
import { ValueRefused, type ValueType, variable } from "./variable.ts";

const ADDRESS = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/;

const watchAddress: ValueType<WatchAddress | "off" | undefined> = {
  allowed: 'empty, host:port (for example "127.0.0.1:7004"), or off',
  brief: "host:port, or off",
  parse(text) {
    if (text === "") return undefined;
    if (text === "off") return "off";
    const [, host, port] = ADDRESS.exec(text) ?? [];
    if (host === undefined || port === undefined) throw new ValueRefused();
    return { host: host.replace(/^\[|\]$/g, ""), port: listenPort.parse(port) };
  },
};

/** How a worker is watched; the API has its metrics on its own listener. */
export const WATCHING_VARIABLES = {
  workerListen: variable({
    name: "DROVER_WORKER_METRICS",
    type: watchAddress,
    default: "",
    emptyMeans: "127.0.0.1:7004, or any free port where that is taken; off under drover up",
    group: "watching",
    doc: "Where a worker answers /metrics and /health.",
  }),
  workerTokenFile: variable({
    name: "DROVER_WORKER_METRICS_TOKEN_FILE",
    type: line(),
    default: "",
    emptyMeans: "nobody is asked, which is allowed on loopback only",
    group: "watching",
    doc: "File with the token that whoever reads a worker's /metrics must show; read again for every scrape.",
  }),
};
