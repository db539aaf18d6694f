import { randomBytes } from "node:crypto";
import { chmod, mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { LastingIdentity } from "./lasting-identity.ts";

/** Every file of the private redis-server's directory. */
export const redisPaths = (stateDir: string) => {
  const dir = join(stateDir, "redis");
  return {
    dir, // 0700: configuration and data are for this user only
    config: join(dir, "redis.conf"), // holds the password; an argument would show it in the process list
    password: join(dir, "password"), // kept, so that a copied URL stays good over restarts
    url: join(dir, "url"), // for people: redis-cli -u "$(cat .../redis/url)"
    lock: join(dir, "lock"), // flock of the running server: two servers would damage each other's AOF
    process: join(dir, "process.json"), // who runs here and for whom
  } as const;
};
export type RedisPaths = ReturnType<typeof redisPaths>;

/** `owner` is null once the server was ended as it should; the port is kept for the next start. */
const RunningServer = z.strictObject({ server: LastingIdentity, owner: LastingIdentity.nullable(), port: z.int() });
export type RunningServer = z.infer<typeof RunningServer>;

/** Makes the directory and the password, or takes what an earlier start has left. */
export async function prepareRedisDir(paths: RedisPaths): Promise<{ readonly password: string }> {
  await mkdir(paths.dir, { recursive: true, mode: 0o700 });
  await chmod(paths.dir, 0o700); // fails when it belongs to somebody else, and it should
  try {
    const password = (await readFile(paths.password, "utf8")).trim();
    if (/^[0-9a-f]{64}$/.test(password)) return { password };
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  const password = randomBytes(32).toString("hex");
  await writePrivate(paths.password, `${password}\n`);
  return { password };
}

/** What redis-server reads at start. */
export async function writeRedisConfig(
  paths: RedisPaths,
  { port, password }: { port: number; password: string },
): Promise<void> {
  const lines = [
    "# Written by drover at every start; changes are lost.",
    "bind 127.0.0.1",
    `port ${port}`,
    "protected-mode yes",
    `requirepass ${password}`,
    `dir ${JSON.stringify(paths.dir)}`,
    "databases 1",
    "appendonly yes",
    "appendfsync everysec",
    'save ""', // the append-only file is the data; a snapshot beside it would only cost memory
    "maxmemory-policy noeviction",
    "daemonize no",
    'logfile ""', // to us, over the pipe
  ];
  await writePrivate(paths.config, `${lines.join("\n")}\n`);
}

export async function writeRunningServer(paths: RedisPaths, running: RunningServer, url: string): Promise<void> {
  await writePrivate(paths.process, `${JSON.stringify(running)}\n`);
  if (running.owner === null) await rm(paths.url, { force: true });
  else await writePrivate(paths.url, `${url}\n`);
}

/** What the last start left behind; undefined before the first one, or when the note is unreadable. */
export async function readRunningServer(paths: RedisPaths): Promise<RunningServer | undefined> {
  try {
    return RunningServer.safeParse(JSON.parse(await readFile(paths.process, "utf8"))).data;
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whole or not at all, and never readable by others, not even for a moment. */
async function writePrivate(path: string, text: string): Promise<void> {
  const draft = `${path}.new`;
  await rm(draft, { force: true });
  await writeFile(draft, text, { mode: 0o600, flag: "wx" });
  await sync(draft);
  await rename(draft, path);
}

async function sync(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
