import type { Config } from "../config-shape.ts";
import { isLoopbackHost, parseRedisUrl } from "../redis-url.ts";

interface OwnPort {
  readonly port: number;
  /** The variable that sets it. */
  readonly setBy: string;
}

/** Ports of this host that drover listens on itself and that lie in the VMs' range; no VM ever gets one of them. */
export function reservedPorts(
  config: Pick<Config, "http" | "grpc" | "redis" | "qemu" | "watching">,
): readonly number[] {
  return [...new Set(portsInRange(config).map(({ port }) => port))].sort((a, b) => a - b);
}

/** The same with the variables' names. A Redis on another machine does not count. */
export function portsInRange({
  http,
  grpc,
  redis,
  qemu,
  watching,
}: Pick<Config, "http" | "grpc" | "redis" | "qemu" | "watching">): readonly OwnPort[] {
  const own: OwnPort[] = [
    { port: grpc.port, setBy: "MANAGER_GRPC_PORT" },
    { port: http.port, setBy: "MANAGER_HTTP_PORT" },
  ];
  const redisPort = loopbackRedisPort(redis.url);
  if (redisPort !== undefined) own.push({ port: redisPort, setBy: "DROVER_REDIS_URL" });
  if (typeof watching.workerListen === "object")
    own.push({ port: watching.workerListen.port, setBy: "DROVER_WORKER_METRICS" });
  return own.filter(({ port }) => port >= qemu.hostFwdRange.first && port <= qemu.hostFwdRange.last);
}

function loopbackRedisPort(url: string): number | undefined {
  const redis = parseRedisUrl(url);
  if (redis?.kind !== "server") return undefined;
  return redis.nodes.find(({ host }) => isLoopbackHost(host))?.port;
}
