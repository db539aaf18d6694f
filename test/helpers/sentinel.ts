import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { Redis } from "ioredis";
import { Scope } from "../../src/runtime/scope.ts";
import { freePort, type RedisServer, startRedis } from "./redis-server.ts";
import { waitFor } from "./wait-for.ts";

const MASTER_NAME = "drover";
const SENTINELS = 3;
/** A master that is silent for so long is replaced. */
const DOWN_AFTER_MS = 500;

export interface SentinelWorld extends AsyncDisposable {
  /** For DROVER_REDIS_URL. */
  readonly url: string;
  /** As at the start; the replica takes its place when it ends. */
  readonly master: RedisServer;
  readonly replica: RedisServer;
  /** Waits until the sentinels have made the replica the master. */
  failedOver(): Promise<void>;
}

/** One master, one replica and three sentinels on loopback, all real. */
export async function startSentinels(): Promise<SentinelWorld> {
  const scope = new Scope();
  const dir = scope.own(mkdtempSync(join(tmpdir(), "drover-sen-")), (path) =>
    rmSync(path, { recursive: true, force: true }),
  );
  const start = async (name: string, args: readonly string[]) => {
    const own = join(dir, name);
    mkdirSync(own);
    const quick = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
    const server = await startRedis({ local: true, dir: own, args: [...quick, ...args] });
    return scope.own(server, () => server.stop());
  };
  const master = await start("master", []);
  const { port: masterPort } = new URL(master.url);
  const replica = await start("replica", ["--replicaof", "127.0.0.1", masterPort]);
  const ports: number[] = [];
  for (let i = 0; i < SENTINELS; i++) {
    const port = await freePort();
    ports.push(port);
    const config = join(dir, `sentinel-${i}.conf`);
    writeFileSync(
      config,
      [
        `port ${port}`,
        "bind 127.0.0.1",
        `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${masterPort} 2`,
        `sentinel down-after-milliseconds ${MASTER_NAME} ${DOWN_AFTER_MS}`,
        `sentinel failover-timeout ${MASTER_NAME} 1500`,
      ].join("\n"),
    );
    const sentinel = execa("redis-server", [config, "--sentinel"], { stdio: "ignore", reject: false });
    scope.own(sentinel, async (running) => {
      running.kill("SIGKILL");
      await running;
    });
  }
  const eye = scope.own(
    new Redis({ host: "127.0.0.1", port: ports[0] ?? 0, retryStrategy: () => 50, maxRetriesPerRequest: null }),
    (client) => client.disconnect(),
  );
  eye.on("error", () => undefined); // refused until the sentinel listens
  const ready = async () => {
    const replicas = await eye.call("SENTINEL", "replicas", MASTER_NAME);
    const quorum = String(await eye.call("SENTINEL", "ckquorum", MASTER_NAME));
    return Array.isArray(replicas) && replicas.length === 1 && quorum.startsWith(`OK ${SENTINELS} usable`);
  };
  await waitFor(ready, { timeoutMs: 15_000, what: "the sentinels to know each other and the replica" });
  return {
    url: `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`).join(",")}/${MASTER_NAME}`,
    master,
    replica,
    async failedOver() {
      const { port } = new URL(replica.url);
      await waitFor(
        async () => String(await eye.call("SENTINEL", "get-master-addr-by-name", MASTER_NAME)).includes(port),
        {
          timeoutMs: 20_000,
          what: "the sentinels to choose the replica",
        },
      );
    },
    [Symbol.asyncDispose]: () => scope.close(),
  };
}
