import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, expect, test } from "vitest";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";
import { Meter } from "../../../src/runtime/metrics/meter.ts";
import type { WorkerParts } from "../../../src/worker/worker-health.ts";
import { WorkerWatch } from "../../../src/worker/worker-watch.ts";
import { forwarderTo } from "../../helpers/guest-forwarder.ts";
import { freePort } from "../../helpers/redis-server.ts";
import { waitFor } from "../../helpers/wait-for.ts";

const logger = pino({ level: "silent" });
const dir = mkdtempSync(join(tmpdir(), "drover-watch-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const open = (env: Readonly<Record<string, string>> = {}, meter = new Meter()) =>
  WorkerWatch.open({ config: loadConfig(env).config, logger, meter });

interface Got {
  readonly status: number | undefined;
  readonly body: string;
}

function ask(
  url: string,
  path: string,
  { method = "GET", headers = {} }: { method?: string; headers?: object } = {},
): Promise<Got> {
  return new Promise((resolve, reject) => {
    const asked = request(new URL(path, url), { method, headers: { ...headers }, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      response.on("end", () => resolve({ status: response.statusCode, body }));
    });
    asked.on("error", reject).end();
  });
}

/** A worker that does well, but for what a test says. */
function parts(over: { turns?: boolean; leased?: boolean; inTime?: boolean } = {}): WorkerParts {
  const { turns = true, leased = true, inTime = true } = over;
  return {
    hostId: "host-a",
    lease: { isSurelyValid: () => leased },
    guard: { isInTime: inTime, leftMs: 12_000 },
    loop: { isTurning: () => turns },
    rounds: { isCurrent: true },
    breaker: { state: { failures: 3, openForMs: 5_000, cause: "kvm_unavailable" } },
    runs: {
      size: 2,
      launching: 1,
      deps: {
        config: loadConfig({ MANAGER_MAX_VMS: "7" }).config,
        keyRing: { current: undefined },
        launches: { freePorts: 99 },
      },
    },
    ports: 101,
  };
}

test("a worker's metrics are given on loopback, with what it says of its host", async () => {
  const watch = await open({ DROVER_WORKER_METRICS: "127.0.0.1:0" });
  watch.begin(parts());
  const url = watch.url("10.0.0.1") ?? "";
  const { status, body } = await ask(url, "/metrics");
  expect(status).toBe(200);
  for (const line of [
    'drover_worker_info{host="host-a"} 1',
    "drover_worker_lease_held 1",
    "drover_worker_guard_left_seconds 12",
    "drover_worker_breaker_failures 3",
    "drover_worker_breaker_open_seconds 5",
    "drover_worker_slots 7",
    "drover_worker_slots_used 2",
    "drover_worker_ports_free 99",
    "drover_secret_keys 0",
  ])
    expect(body.split("\n")).toContain(line);
  await watch.close();
  await expect(ask(url, "/metrics")).rejects.toThrow("ECONNREFUSED");
});

test("/health passes while the loop turns and the lease is held, and says why it does not", async () => {
  const watch = await open({ DROVER_WORKER_METRICS: "127.0.0.1:0" });
  const health = async () => {
    const { status, body } = await ask(watch.url("") ?? "", "/health");
    return [status, JSON.parse(body)];
  };
  expect(await health()).toEqual([503, { status: "fail", problems: [expect.stringContaining("starting")] }]);
  watch.begin(parts());
  expect(await health()).toEqual([200, { status: "pass", problems: [] }]);
  for (const [over, why] of [
    [{ turns: false }, "does not turn"],
    [{ leased: false }, "lease of this host is not held"],
    [{ inTime: false }, "guard's deadline"],
  ] as const) {
    watch.begin(parts(over));
    expect(await health()).toEqual([503, { status: "fail", problems: [expect.stringContaining(why)] }]);
  }
  await watch.close();
});

test("a place that is taken is refused where it was asked for, and passed over where it was not", async () => {
  const first = await open({ DROVER_WORKER_METRICS: "127.0.0.1:0" });
  const taken = new URL(first.url("") ?? "").port;
  await expect(open({ DROVER_WORKER_METRICS: `127.0.0.1:${taken}` })).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringMatching(/is taken by another process.*off/),
  });
  const [second, third] = await Promise.all([open(), open()]);
  const ports = [second, third].map((watch) => new URL(watch.url("") ?? "").port);
  expect(new Set(ports).size).toBe(2);
  expect((await open({ DROVER_WORKER_METRICS: "off" })).url("10.0.0.1")).toBeUndefined();
  await Promise.all([first, second, third].map((watch) => watch.close()));
});

test("beyond loopback it is refused while nobody is asked, and then asks for the token of the file", async () => {
  const everywhere = { DROVER_WORKER_METRICS: "0.0.0.0:0" };
  expect(() => loadConfig(everywhere)).toThrow(/DROVER_WORKER_METRICS_TOKEN_FILE.*127\.0\.0\.1.*DROVER_INSECURE/s);
  expect(() => loadConfig({ ...everywhere, DROVER_INSECURE: "true" })).not.toThrow();
  const file = join(dir, "token");
  const watch = await open({ ...everywhere, DROVER_WORKER_METRICS_TOKEN_FILE: file });
  const url = watch.url("127.0.0.1") ?? "";
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
  const status = async (token?: string) =>
    (await ask(url, "/metrics", token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })).status;
  expect(await status("a-token-of-some-length"), "no file yet").toBe(401);
  for (const token of ["a-token-of-some-length", "another-token-of-some-length"]) {
    writeFileSync(file, `${token}\n`);
    expect([await status(), await status("wrong-token-of-some-length"), await status(token)]).toEqual([401, 401, 200]);
  }
  writeFileSync(file, "short");
  expect(await status("short")).toBe(401);
  expect((await ask(url, "/health")).status, "says nothing that is anybody's").toBe(503);
  await watch.close();
});

test("a web page, another method, another path and a long request get nothing", async () => {
  const watch = await open({ DROVER_WORKER_METRICS: "127.0.0.1:0" });
  const url = watch.url("") ?? "";
  expect((await ask(url, "/metrics", { headers: { host: "evil.example" } })).status).toBe(421);
  expect((await ask(url, "/metrics", { headers: { host: "localhost:7004" } })).status).toBe(200);
  expect((await ask(url, "/metrics", { method: "POST" })).status).toBe(405);
  expect((await ask(url, "/")).status).toBe(404);
  expect((await ask(url, "/metrics", { headers: { "x-long": "a".repeat(10_000) } })).status).toBe(431);
  await watch.close();
});

test("a guest that calls its host's loopback gets no metrics", async () => {
  const watch = await open({ DROVER_WORKER_METRICS: "127.0.0.1:0" });
  const port = Number(new URL(watch.url("") ?? "").port);
  for (const [asQemu, status] of [
    [true, 403],
    [false, 200],
  ] as const) {
    using forwarder = await forwarderTo(port, asQemu);
    // The process table is looked at five times a second at most.
    await waitFor(async () => (await ask(`http://127.0.0.1:${forwarder.port}`, "/metrics")).status === status, {
      what: `status ${status}`,
    });
  }
  await watch.close();
});

test("no more than so many connections stay open, and a close does not wait for any", async () => {
  const watch = await open({ DROVER_WORKER_METRICS: `127.0.0.1:${await freePort()}` });
  const { port } = new URL(watch.url("") ?? "");
  const sockets = Array.from({ length: 40 }, () => connect(Number(port), "127.0.0.1"));
  let closed = 0;
  for (const socket of sockets) socket.on("error", () => undefined).on("close", () => closed++);
  await waitFor(() => closed >= 8, { what: "connections to be refused" });
  await watch.close();
  await waitFor(() => closed === 40, { what: "all connections to end" });
});
