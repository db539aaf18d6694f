import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { Redis } from "ioredis";
import { Scope } from "../../src/runtime/scope.ts";
import { startRedis } from "./redis-server.ts";
import { waitFor } from "./wait-for.ts";

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
  const nodes: string[] = [];
  for (const name of ["a", "b", "c"]) {
    const own = join(dir, name);
    mkdirSync(own);
    const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    const node = scope.own(await startRedis({ local: true, dir: own, args }), (server) => server.stop());
    nodes.push(new URL(node.url).host);
  }
  await execa("redis-cli", ["--cluster", "create", ...nodes, "--cluster-yes"]);
  for (const node of nodes) {
    const client = new Redis(`redis://${node}`);
    try {
      await waitFor(async () => String(await client.cluster("INFO")).includes("cluster_state:ok"), {
        what: `node ${node} to see the whole cluster`,
      });
    } finally {
      client.disconnect();
    }
  }
  return { url: `redis+cluster://${nodes.join(",")}`, [Symbol.asyncDispose]: () => scope.close() };
}
