import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { Scope } from "../../src/runtime/scope.ts";
import { startRedis } from "./redis-server.ts";
import { waitFor } from "./wait-for.ts";

const SLOTS = 16_384;

export interface ClusterWorld extends AsyncDisposable {
  /** For DROVER_REDIS_URL. */
  readonly url: string;
}

/** Three real nodes on loopback that share the slots, without replicas. */
export async function startCluster(): Promise<ClusterWorld> {
  const scope = new Scope();
  const dir = scope.own(mkdtempSync(join(tmpdir(), "drover-clu-")), (path) =>
    rmSync(path, { recursive: true, force: true }),
  );
  const nodes: { readonly host: string; readonly client: Redis }[] = [];
  for (const name of ["a", "b", "c"]) {
    const own = join(dir, name);
    mkdirSync(own);
    const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    const node = scope.own(await startRedis({ local: true, dir: own, args }), (server) => server.stop());
    const client = scope.own(new Redis(node.url), (opened) => opened.disconnect());
    nodes.push({ host: new URL(node.url).host, client });
  }
  for (const [index, { client, host }] of nodes.entries()) {
    const first = Math.floor((SLOTS * index) / nodes.length);
    const last = Math.floor((SLOTS * (index + 1)) / nodes.length) - 1;
    await client.call("CLUSTER", "ADDSLOTSRANGE", first, last);
    await client.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1);
    const [address = "", port = ""] = host.split(":");
    await nodes[0]?.client.call("CLUSTER", "MEET", address, port);
  }
  for (const { client, host } of nodes) {
    const whole = async () => {
      const info = String(await client.call("CLUSTER", "INFO"));
      return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${nodes.length}`);
    };
    await waitFor(whole, { timeoutMs: 20_000, what: `node ${host} to see the whole cluster` });
  }
  return {
    url: `redis+cluster://${nodes.map(({ host }) => host).join(",")}`,
    [Symbol.asyncDispose]: () => scope.close(),
  };
}
