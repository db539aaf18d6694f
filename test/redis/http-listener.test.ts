import { readFileSync } from "node:fs";
import { request as plainRequest } from "node:http";
import { Agent, request } from "node:https";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { expect, inject, test } from "vitest";
import { startApi } from "../../src/producer/start-api.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openHttpWorld, testConfig } from "./http-world.ts";

const logger = pino({ level: "silent" });
const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));
const TLS = { MANAGER_HTTP_SERVER_CERT: fixture("cert.pem"), MANAGER_HTTP_SERVER_KEY: fixture("key.pem") };

function start(env: Readonly<Record<string, string>>) {
  return startApi({ config: testConfig({ url: inject("redisUrl"), prefix: "{test-listener}", env }), logger });
}

function askTls(url: string, options: object = {}): Promise<{ status: number; protocol: string | null }> {
  return new Promise((resolve, reject) => {
    const agent = new Agent({ ca: readFileSync(fixture("cert.pem")), ...options });
    const asked = request(`${url}/health`, { agent }, (response) => {
      const protocol =
        "getProtocol" in response.socket && typeof response.socket.getProtocol === "function"
          ? response.socket.getProtocol()
          : null;
      response.resume().on("end", () => resolve({ status: response.statusCode ?? 0, protocol }));
    });
    asked.on("error", reject).end();
  });
}

test("with a certificate it speaks TLS 1.2 and up, and nothing else", async () => {
  const api = await start(TLS);
  try {
    expect(api.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    expect(await askTls(api.url)).toEqual({ status: 200, protocol: "TLSv1.3" });
    expect(await askTls(api.url, { maxVersion: "TLSv1.2" })).toEqual({ status: 200, protocol: "TLSv1.2" });
    await expect(askTls(api.url, { maxVersion: "TLSv1.1", minVersion: "TLSv1.1" })).rejects.toThrow();
    const plain = new Promise((resolve, reject) =>
      plainRequest(api.url.replace("https:", "http:"), resolve).on("error", reject).end(),
    );
    await expect(plain).rejects.toThrow();
  } finally {
    await api.close();
  }
});

test("with a client CA it asks clients for a certificate", async () => {
  const api = await start({ ...TLS, MANAGER_HTTP_CLIENT_CA_CERTS: fixture("cert.pem") });
  try {
    await expect(askTls(api.url)).rejects.toThrow();
    const own = { cert: readFileSync(fixture("cert.pem")), key: readFileSync(fixture("key.pem")) };
    expect(await askTls(api.url, own)).toMatchObject({ status: 200 });
  } finally {
    await api.close();
  }
});

test("certificates may be given as text, and a file that is not there is named", async () => {
  const text = {
    MANAGER_HTTP_SERVER_CERT: readFileSync(fixture("cert.pem"), "utf8"),
    MANAGER_HTTP_SERVER_KEY: readFileSync(fixture("key.pem"), "utf8"),
  };
  const api = await start(text);
  expect(await askTls(api.url)).toMatchObject({ status: 200 });
  await api.close();
  await expect(start({ ...TLS, MANAGER_HTTP_SERVER_KEY: "/nowhere/key.pem" })).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringContaining("MANAGER_HTTP_SERVER_KEY: the file /nowhere/key.pem"),
  });
});

test.each(["0.0.0.0", "::", "192.0.2.1"])(
  "listening on %s without access control is refused unless it is asked for",
  async (host) => {
    await expect(start({ MANAGER_HTTP_HOST: host })).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringContaining("DROVER_INSECURE"),
    });
  },
);

test("with DROVER_INSECURE it listens on all addresses and answers for the one that is called", async () => {
  const api = await start({ MANAGER_HTTP_HOST: "0.0.0.0", DROVER_INSECURE: "true" });
  try {
    const { port } = new URL(api.url);
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
  } finally {
    await api.close();
  }
});

test("a port that is taken is the caller's error, and nothing stays open", async () => {
  const api = await start({});
  const { port } = new URL(api.url);
  await expect(start({ MANAGER_HTTP_PORT: port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  await api.close();
});

test("a client that leaves ends its wait; the VM goes on", async () => {
  await using world = await openHttpWorld({ listen: true });
  const leaving = new AbortController();
  const asked = fetch(`${world.url}/v1/vms`, {
    method: "POST",
    body: "{}",
    headers: { "content-type": "application/json", prefer: "wait=60" },
    signal: leaving.signal,
  });
  await waitFor(() => world.deps.watch.size === 1);
  leaving.abort();
  await expect(asked).rejects.toThrow();
  await waitFor(() => world.deps.watch.size === 0, { timeoutMs: 2_000, what: "the wait to end" });
  expect(await world.redis.zcard(world.keys.allVms)).toBe(1);
});

test("a wait outlives the server's limit for idle connections", async () => {
  await using world = await openHttpWorld({
    listen: true,
    env: { MANAGER_HTTP_SERVER_WRITE_TIMEOUT: "300ms", MANAGER_HTTP_SERVER_READ_TIMEOUT: "300ms" },
  });
  const headers = { "content-type": "application/json", prefer: "wait=2" };
  const reply = await fetch(`${world.url}/v1/vms`, { method: "POST", body: "{}", headers });
  expect(reply.status).toBe(202);
});

test("closing answers those who wait with what is known, refuses new ones, and does not wait for idle connections", async () => {
  const world = await openHttpWorld({ listen: true });
  const waiting = fetch(`${world.url}/v1/vms`, {
    method: "POST",
    body: "{}",
    headers: { "content-type": "application/json", prefer: "wait=60" },
  });
  await waitFor(() => world.deps.watch.size === 1);
  const startedMs = performance.now();
  const closed = world[Symbol.asyncDispose]();
  const refused = world.app.inject("/v1/vms");
  const answer = await waiting;
  expect([answer.status, answer.headers.get("connection")]).toEqual([202, "close"]);
  expect((await refused.catch(() => undefined))?.statusCode ?? 503).toBe(503);
  await closed;
  expect(performance.now() - startedMs).toBeLessThan(2_000);
});
