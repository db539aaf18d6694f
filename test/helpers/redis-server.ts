import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { Redis } from "ioredis";
import { GenericContainer, getContainerRuntimeClient, Wait } from "testcontainers";
import { waitFor } from "./wait-for.ts";

export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  /** Says where it came from: the run prints it. */
  readonly origin: string;
  readonly pid: number | undefined;
  stop(): Promise<void>;
}

const IMAGE = process.env["DROVER_TEST_REDIS_IMAGE"] ?? "redis:7-alpine";

/**
 * The one way by which tests get a Redis: a container where an engine and the image are at hand, else the local
 * redis-server. `local: true` asks for a process of this machine (tests that stop, kill or restart it).
 */
export async function startRedis(
  options: { local?: boolean; args?: readonly string[]; dir?: string; port?: number } = {},
): Promise<RedisServer> {
  if (options.local !== true && (await hasImage())) return startContainer();
  return startLocal(options);
}

async function hasImage(): Promise<boolean> {
  try {
    const client = await getContainerRuntimeClient();
    await client.image.inspect({ string: IMAGE } as Parameters<typeof client.image.inspect>[0]);
    return true;
  } catch {
    return false; // no engine, or no image: the local server is as real
  }
}

async function startContainer(): Promise<RedisServer> {
  process.env["TESTCONTAINERS_RYUK_DISABLED"] ??= "true";
  const container = await new GenericContainer(IMAGE)
    .withExposedPorts(6379)
    .withWaitStrategy(Wait.forLogMessage("Ready to accept connections"))
    .start();
  const stop = async () => {
    await container.stop();
  };
  return {
    url: `redis://${container.getHost()}:${container.getMappedPort(6379)}`,
    origin: `container ${IMAGE}`,
    pid: undefined,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function startLocal(options: { args?: readonly string[]; dir?: string; port?: number }): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), "drover-redis-"));
  const server = execa(
    "redis-server",
    [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--dir",
      dir,
      "--save",
      "",
      "--maxmemory-policy",
      "noeviction",
      ...(options.args ?? []),
    ],
    { stdio: "ignore", reject: false },
  );
  const probe = new Redis({ port, host: "127.0.0.1", retryStrategy: () => 50, maxRetriesPerRequest: null });
  probe.on("error", () => undefined); // refused until the server listens
  try {
    await waitFor(async () => (await probe.ping()) === "PONG", { timeoutMs: 10_000, what: "redis-server to answer" });
  } finally {
    probe.disconnect();
  }
  const stop = async () => {
    server.kill("SIGKILL");
    await server;
    if (options.dir === undefined) rmSync(dir, { recursive: true, force: true });
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    origin: "local redis-server",
    pid: server.pid,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
