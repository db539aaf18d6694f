import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { DroverError } from "../contract/errors.ts";
import {
  prepareRedisDir,
  type RedisPaths,
  readRunningServer,
  redisPaths,
  writeRedisConfig,
  writeRunningServer,
} from "./embedded-redis-files.ts";
import { endProcess } from "./end-process.ts";
import { identifyProcess, isSameProcess } from "./lasting-identity.ts";
import type { Logger } from "./logger.ts";
import { type RedisServerProcess, startRedisServer } from "./redis-server-process.ts";

export interface EmbeddedRedisOptions {
  readonly stateDir: string;
  readonly logger: Logger;
  /** The process that the server belongs to: the caller's own. */
  readonly ownerPid: number;
  readonly binPath?: string;
  /** Ports that drover or its VMs use: never chosen. */
  readonly avoidPorts?: (port: number) => boolean;
}

const PORT_TRIES_MAX = 10;
const ORPHAN_TERM_MS = 10_000;
/** A server that falls is started again, but one that cannot stay up is an error to show, not to hide. */
const RESTARTS_MAX = 5;
const RESTART_WINDOW_MS = 60_000;
const RESTART_PAUSE_MS = 200;

/**
 * A private redis-server for `drover up`: data in the state directory with the append-only file on, loopback only, with
 * a password that only this user can read. It ends with us, and what an earlier start could not end is ended first.
 */
export class EmbeddedRedis implements AsyncDisposable {
  readonly url: string;
  /** The URL without the password, for people. */
  readonly shownUrl: string;
  readonly paths: RedisPaths;
  /** Rejects when the server is gone and cannot be started again; never resolves. */
  readonly lost: Promise<never>;
  readonly #options: EmbeddedRedisOptions;
  readonly #port: number;
  readonly #restarts: number[] = [];
  #server: RedisServerProcess;
  #closing: Promise<void> | undefined;
  #fail: (error: Error) => void = () => undefined;

  private constructor(
    options: EmbeddedRedisOptions,
    started: { paths: RedisPaths; port: number; password: string; server: RedisServerProcess },
  ) {
    this.#options = options;
    this.#port = started.port;
    this.#server = started.server;
    this.paths = started.paths;
    this.url = redisUrl(started);
    this.shownUrl = `redis://127.0.0.1:${started.port}`;
    this.lost = new Promise<never>((_resolve, reject) => {
      this.#fail = reject;
    });
    this.lost.catch(() => undefined); // whoever cares awaits it
    this.#watch(started.server);
  }

  /** Resolves when the server takes connections. Throws `config_invalid` with the way out where something is missing. */
  static async start(options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
    const paths = redisPaths(options.stateDir);
    const { password } = await prepareRedisDir(paths);
    const before = await readRunningServer(paths);
    if (before !== undefined) {
      if (before.owner !== null && isSameProcess(before.owner))
        throw alreadyRunning(options.stateDir, before.owner.pid);
      if (isSameProcess(before.server)) await endProcess(before.server, { termMs: ORPHAN_TERM_MS });
    }
    for (let attempt = 0; attempt < PORT_TRIES_MAX; attempt += 1) {
      // The port of the last time, so that a URL that somebody noted stays good.
      const port = attempt === 0 && before !== undefined ? before.port : await freePort(options.avoidPorts);
      const server = await launch(options, paths, { port, password });
      if (server !== "port_taken") return new EmbeddedRedis(options, { paths, port, password, server });
    }
    throw new DroverError(
      "config_invalid",
      `no free loopback port was found for the private redis-server in ${PORT_TRIES_MAX} tries`,
    );
  }

  get pid(): number {
    return this.#server.identity.pid;
  }

  /** Ends the server, its data safe on disk. A second call waits for the first. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await this.#server.stop();
    await writeRunningServer(this.paths, { server: this.#server.identity, owner: null, port: this.#port }, this.url);
  }

  #watch(server: RedisServerProcess): void {
    void server.ended.then((text) => (this.#closing === undefined ? this.#restart(text) : undefined));
  }

  async #restart(text: string): Promise<void> {
    const { logger } = this.#options;
    const now = Date.now();
    this.#restarts.push(now);
    const recent = this.#restarts.filter((atMs) => now - atMs < RESTART_WINDOW_MS);
    try {
      if (recent.length > RESTARTS_MAX)
        throw new Error(`redis-server ended ${recent.length} times within a minute:\n${text}`);
      logger.error({ lines: text.split("\n") }, "the private redis-server ended by itself; starting it again");
      await delay(RESTART_PAUSE_MS * recent.length);
      if (this.#closing !== undefined) return;
      const { password } = await prepareRedisDir(this.paths);
      const server = await launch(this.#options, this.paths, { port: this.#port, password });
      if (server === "port_taken") throw new Error(`its port ${this.#port} was taken by another process`);
      this.#server = server;
      if (this.#closing !== undefined) await server.stop();
      else this.#watch(server);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#fail(
        new DroverError("redis_unavailable", `the private redis-server is gone and cannot be started again: ${why}`, {
          cause: error,
        }),
      );
    }
  }
}

async function launch(
  options: EmbeddedRedisOptions,
  paths: RedisPaths,
  { port, password }: { port: number; password: string },
): Promise<RedisServerProcess | "port_taken"> {
  await writeRedisConfig(paths, { port, password });
  const binPath = options.binPath ?? "redis-server";
  const outcome = await startRedisServer({
    binPath,
    configFile: paths.config,
    lockFile: paths.lock,
    logger: options.logger,
  });
  switch (outcome.kind) {
    case "ready": {
      const owner = identifyProcess(options.ownerPid);
      if (owner === undefined) throw new Error(`there is no process ${options.ownerPid}`);
      await writeRunningServer(paths, { server: outcome.process.identity, owner, port }, redisUrl({ port, password }));
      return outcome.process;
    }
    case "port_taken":
      return "port_taken";
    case "locked":
      throw alreadyRunning(options.stateDir, undefined);
    case "program_missing": {
      const name = outcome.program === binPath ? "redis-server" : "util-linux";
      throw new DroverError(
        "config_invalid",
        `${outcome.program} is not installed. Install it with \`sudo apt-get install -y ${name}\`, or name a Redis that runs already with DROVER_REDIS_URL.`,
      );
    }
    case "failed":
      throw new DroverError(
        "config_invalid",
        `the private redis-server in ${paths.dir} does not start:\n${outcome.text}`,
      );
  }
}

function alreadyRunning(stateDir: string, pid: number | undefined): DroverError {
  const who = pid === undefined ? "another drover" : `another drover (pid ${pid})`;
  return new DroverError(
    "config_invalid",
    `${who} runs with the state directory ${stateDir} already. Stop it first, or give this one a directory of its own with DROVER_STATE_DIR.`,
  );
}

function redisUrl({ port, password }: { port: number; password: string }): string {
  return `redis://:${password}@127.0.0.1:${port}`;
}

async function freePort(avoid: EmbeddedRedisOptions["avoidPorts"]): Promise<number> {
  for (;;) {
    const server = createServer();
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
    const address = server.address();
    await new Promise((resolve) => server.close(resolve));
    if (address !== null && typeof address !== "string" && avoid?.(address.port) !== true) return address.port;
  }
}
