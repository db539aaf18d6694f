import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { buildDrover, cleanEnv, drover } from "../cli/drover-process.ts";
import { type ContainerEngine, openContainerEngine } from "../helpers/container-engine.ts";
import { demoGuest } from "../helpers/demo-guest.ts";
import { nextPorts } from "../helpers/drover.ts";
import { freePort } from "../helpers/redis-server.ts";
import { waitFor } from "../helpers/wait-for.ts";

/** The stack of docker-compose.yml as people start it, its image built on one of this machine's own files. */
const BASE = "drover-test-base";
const IMAGE = "drover-test";
const PASSWORD = "the-redis-password-5c1d";
const BUILT_IN_MS = 120_000;

let engine: ContainerEngine | undefined;
let missing = "";
let folder = "";
let compose: (...args: string[]) => ReturnType<typeof execa>;
let client: Record<string, string> = {};

beforeAll(async () => {
  const opened = await openContainerEngine();
  if ("missing" in opened) {
    missing = opened.missing;
    return;
  }
  engine = opened;
  process.stdout.write(`containers run in: ${engine.origin}\n`);
  if ((await execa("docker-compose", ["version"], { reject: false })).exitCode !== 0) {
    missing = "docker-compose is not installed";
    return;
  }
  folder = mkdtempSync(join(tmpdir(), "drv-stack-"));
  await buildDrover();
  await execa("node", ["scripts/container-base.mjs", "--tag", BASE], { env: engine.env });
  const args = ["--build-arg", `BASE=${BASE}`, "--build-arg", "PACKAGES=base"];
  await execa("docker", ["build", "--quiet", ...args, "--tag", IMAGE, "."], { env: engine.env });
  const [http, grpc, metrics, redis] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const ports = nextPorts();
  const settings = join(folder, "drover.env");
  writeFileSync(
    settings,
    `${readFileSync("deploy/compose/drover.env", "utf8")}
MANAGER_HTTP_PORT=${http}
MANAGER_GRPC_PORT=${grpc}
DROVER_WORKER_METRICS=127.0.0.1:${metrics}
MANAGER_QEMU_HOST_FWD_RANGE=${ports.first}-${ports.last}
DROVER_STOP_POWERDOWN_TIMEOUT=2s
MANAGER_QEMU_ENABLE_KVM=false
`,
  );
  const env = {
    ...cleanEnv(),
    ...engine.env,
    COMPOSE_PROJECT_NAME: `drover-test-${process.pid}`,
    DROVER_IMAGE: IMAGE,
    DROVER_REDIS_IMAGE: BASE,
    DROVER_REDIS_PASSWORD: PASSWORD,
    DROVER_REDIS_PORT: String(redis),
    DROVER_ENV_FILE: settings,
    DROVER_GUEST_DIR: dirname(demoGuest().vmlinux),
  };
  compose = (...words) => execa("docker-compose", words, { env, extendEnv: false, all: true });
  client = { DROVER_URL: `http://127.0.0.1:${http}` };
}, BUILT_IN_MS);

afterAll(async () => {
  if (engine === undefined) return;
  if (folder !== "") {
    await compose("down", "--volumes", "--timeout", "5").catch((error: unknown) => process.stderr.write(`${error}\n`));
    await execa("docker", ["rmi", "--force", IMAGE, BASE], { env: engine.env, reject: false });
    rmSync(folder, { recursive: true, force: true });
  }
  await engine[Symbol.asyncDispose]();
}, 60_000);

const idOf = (output: string) => /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(output)?.[0] ?? "no id";
const stateOf = async (vmId: string): Promise<unknown> =>
  JSON.parse((await drover(["get", vmId, "--json"], client)).stdout)?.state;

test("the stack comes up, runs a VM, and gives a VM back when its worker stops", { timeout: 180_000 }, async ({
  skip,
}) => {
  if (missing !== "") skip(missing);
  await compose("config", "--quiet");
  await compose("up", "--detach");
  await waitFor(async () => (await healthOf("worker")) === "healthy" && (await healthOf("api")) === "healthy", {
    timeoutMs: 60_000,
    intervalMs: 250,
    what: "API and worker to be healthy",
  });

  expect((await drover(["ls"], client)).stderr, "nobody gets in without a token").toMatch(/show a token/);
  const token = await compose("exec", "-T", "api", "drover", "token", "add", "--owner", "me", "--role", "operator");
  client = { ...client, DROVER_TOKEN: String(token.stdout).trim().split("\n").at(-1) ?? "" };

  const done = await drover(["submit", "--name", "in a container", "--result", "--wait", "--timeout", "60s"], client);
  expect(done.exitCode, done.stdout + done.stderr).toBe(0);
  expect(done.stderr).toMatch(/completed +guest_shutdown, exit code 0/);
  expect(done.stderr).toMatch(/hello from/);

  const stays = idOf((await drover(["submit", "--ttl", "10m"], client)).stdout);
  await waitFor(async () => (await stateOf(stays)) === "running", { timeoutMs: 30_000, what: "the VM to run" });
  await compose("stop", "worker");
  expect(await stateOf(stays), "released, no attempt used").toBe("queued");
  await compose("start", "worker");
  await waitFor(async () => (await stateOf(stays)) === "running", { timeoutMs: 60_000, what: "the VM to run again" });
  expect((await drover(["rm", stays, "--wait"], client)).exitCode).toBe(0);
});

test("its containers have as little as they can", { timeout: 60_000 }, async ({ skip }) => {
  if (missing !== "") skip(missing);
  for (const service of ["api", "worker"]) {
    const status = String((await compose("exec", "-T", service, "cat", "/proc/1/status")).stdout);
    expect(status, service).toMatch(/^Uid:\t10001\t10001\t10001\t10001$/m);
    expect(status, service).toMatch(/^CapEff:\t0+$/m);
    expect(status, service).toMatch(/^CapBnd:\t0+$/m);
    expect(status, service).toMatch(/^NoNewPrivs:\t1$/m);
    await expect(compose("exec", "-T", service, "mkdir", "/opt/drover/new"), "its own files").rejects.toThrow(
      /Read-only/,
    );
  }
  const key = String((await compose("exec", "-T", "api", "stat", "-c", "%a %u", "/etc/drover/secrets.key")).stdout);
  expect(key.trim()).toBe("600 10001");
  await expect(compose("exec", "-T", "worker", "rm", "/etc/drover/secrets.key")).rejects.toThrow(/Read-only/);
  const { stdout: everything } = await execa("ps", ["-eo", "args"]);
  expect(everything, "no password in any command line").not.toContain(PASSWORD);
});

test("the Redis of the tests comes out of a container where an engine and the image are", async ({ skip }) => {
  if (engine === undefined || missing !== "") return skip(missing);
  await execa("docker", ["build", "--quiet", "--tag", "drover-test-redis", "-"], {
    env: engine.env,
    input: `FROM ${BASE}\nCMD ["redis-server", "--protected-mode", "no", "--maxmemory-policy", "noeviction"]\n`,
  });
  const script = `
    import { startRedis } from "./test/helpers/redis-server.ts";
    import { Redis } from "ioredis";
    const server = await startRedis();
    const redis = new Redis(server.url);
    console.log(server.origin, await redis.ping());
    redis.disconnect();
    await server.stop();
  `;
  const { stdout } = await execa("node", ["--import", "tsx", "--input-type=module", "--eval", script], {
    env: { ...engine.env, DROVER_TEST_REDIS_IMAGE: "drover-test-redis" },
  });
  expect(stdout.trim()).toBe("container drover-test-redis PONG");
  await execa("docker", ["rmi", "--force", "drover-test-redis"], { env: engine.env, reject: false });
});

test("every image has a fixed version, and every service that listens does so on loopback", () => {
  const { services } = parse(readFileSync("docker-compose.yml", "utf8"), { merge: true });
  for (const [name, { image, ports = [] }] of Object.entries<{ image: string; ports?: string[] }>(services)) {
    expect(image, name).toMatch(/^\$\{DROVER_[A-Z_]+:-[a-z./-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*\}$/);
    for (const port of ports) expect(port, name).toMatch(/^127\.0\.0\.1:/);
  }
  expect(readFileSync("Dockerfile", "utf8")).toMatch(/^ARG BASE=\S+:\d+\.\d+\.\d+-bookworm-slim$/m);
});

async function healthOf(service: string): Promise<string> {
  const id = String((await compose("ps", "--quiet", service)).stdout).trim();
  const { stdout } = await execa("docker", ["inspect", "--format", "{{.State.Health.Status}}", id], {
    env: engine?.env ?? {},
  });
  return stdout.trim();
}
