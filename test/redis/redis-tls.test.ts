import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { Redis } from "ioredis";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openRedis, type RedisClient } from "../../src/queue/connection.ts";
import { untilReady } from "../../src/queue/redis-health.ts";
import { Scope } from "../../src/runtime/scope.ts";
import type { ClientTlsFiles } from "../../src/runtime/tls/client-material.ts";
import { openCertificates, type TestAuthority, type TestCertificate } from "../helpers/certificates.ts";
import { freePort, type RedisServer, startRedis } from "../helpers/redis-server.ts";
import { waitFor } from "../helpers/wait-for.ts";

const pki = openCertificates();
const PASSWORD = "p@ss:w/rd%";
const ENCODED = encodeURIComponent(PASSWORD);
let ca: TestAuthority;
let own: TestCertificate;
let open: { server: RedisServer; port: number };
let mutual: { server: RedisServer; port: number };
const scope = new Scope();

async function startTls(
  clients: "yes" | "no",
  { names = "DNS:localhost,IP:127.0.0.1", more = [] as readonly string[] } = {},
) {
  const port = await freePort();
  const cert = await ca.issue({ subject: "/CN=redis", names });
  const files = ["--tls-cert-file", cert.certFile, "--tls-key-file", cert.keyFile, "--tls-ca-cert-file", ca.certFile];
  const user = ["--user", "drover", "on", `>${PASSWORD}`, "~*", "&*", "+@all"];
  const args = ["--tls-port", String(port), ...files, "--tls-auth-clients", clients, ...user, ...more];
  return { server: scope.own(await startRedis({ local: true, args }), (server) => server.stop()), port };
}

beforeAll(async () => {
  ca = await pki.authority("/CN=redis-ca");
  own = await ca.issue({ subject: "/CN=drover", uses: "clientAuth" });
  [open, mutual] = await Promise.all([startTls("no"), startTls("yes", { names: "DNS:localhost" })]);
});
afterAll(async () => {
  await scope.close();
  await pki[Symbol.asyncDispose]();
});

/** A connection of a role, its log, and why it is not usable. */
async function reach(
  url: string,
  files: Partial<ClientTlsFiles>,
  { role = "worker", patienceMs = 2_000 }: { role?: "api" | "worker" | "blocking"; patienceMs?: number } = {},
) {
  const log: string[] = [];
  const logger = pino({ level: "info" }, { write: (line) => log.push(line) });
  const redis = scope.own(openRedis({ url, role, name: "tls", logger, ...files }), (client) => client.disconnect());
  return { redis, log: () => log.join(""), problem: await untilReady(redis, patienceMs) };
}

const echo = (redis: RedisClient) => redis.call("ACL", "WHOAMI");

test.each(["api", "worker", "blocking"] as const)(
  "role %s speaks TLS, with user and password of the URL",
  async (role) => {
    const { redis, problem } = await reach(
      `rediss://drover:${ENCODED}@localhost:${open.port}`,
      { caCerts: ca.certFile },
      { role },
    );
    expect(problem).toBeUndefined();
    expect(await echo(redis)).toBe("drover");
    const copy = scope.own(redis.duplicate(), (client) => client.disconnect()); // as BullMQ makes its own
    expect(await untilReady(copy, 1_500)).toBeUndefined();
    expect(await echo(copy)).toBe("drover");
  },
);

test("the CA may be PEM text, and the name may be an address of the certificate", async () => {
  expect((await reach(`rediss://127.0.0.1:${open.port}`, { caCerts: ca.cert })).problem).toBeUndefined();
});

test("a server of another CA is refused, and the log says which variable names it", async () => {
  const other = await pki.authority("/CN=other");
  for (const caCerts of [other.certFile, ""]) {
    const { problem, log, redis } = await reach(`rediss://localhost:${open.port}`, { caCerts }, { patienceMs: 250 });
    expect(problem).toContain("of a CA that is not trusted here: name its CA with DROVER_REDIS_CA_CERTS");
    expect(log()).toContain("DROVER_REDIS_CA_CERTS");
    redis.disconnect();
  }
});

test("a server whose certificate has another name is refused", async () => {
  const files = { caCerts: ca.certFile, clientCert: own.certFile, clientKey: own.keyFile };
  const { problem, redis } = await reach(`rediss://127.0.0.1:${mutual.port}`, files, { patienceMs: 250 });
  redis.disconnect();
  expect(problem).toContain("its certificate is made for another name");
});

test("with its certificate drover gets into a server that asks for one, without it is refused", async () => {
  const url = `rediss://localhost:${mutual.port}`;
  const files = { caCerts: ca.certFile, clientCert: own.certFile, clientKey: own.key };
  const { redis, problem } = await reach(url, files);
  expect(problem).toBeUndefined();
  expect(await redis.ping()).toBe("PONG");
  const without = await reach(url, { caCerts: ca.certFile }, { patienceMs: 250 });
  without.redis.disconnect();
  expect(without.problem).toContain("set DROVER_REDIS_CLIENT_CERT and DROVER_REDIS_CLIENT_KEY");
});

test("the next connection shows the renewed certificate", async () => {
  const files = { certFile: join(pki.dir, "own.crt"), keyFile: join(pki.dir, "own.key") };
  const take = (from: TestCertificate) => {
    copyFileSync(from.certFile, files.certFile);
    copyFileSync(from.keyFile, files.keyFile);
  };
  const foreign = await pki.authority("/CN=foreign");
  take(await foreign.issue({ subject: "/CN=drover" }));
  const logger = pino({ level: "silent" });
  const options = { url: `rediss://localhost:${mutual.port}`, caCerts: ca.certFile, name: "renewed", logger };
  const own = { clientCert: files.certFile, clientKey: files.keyFile };
  const redis = scope.own(openRedis({ ...options, ...own, role: "worker" }), (client) => client.disconnect());
  expect(await untilReady(redis, 250)).toContain("DROVER_REDIS_CLIENT_CERT");
  take(await ca.issue({ subject: "/CN=drover" }));
  await waitFor(async () => (await untilReady(redis, 250)) === undefined, {
    what: "the renewed certificate to be shown",
  });
});

test("sentinels and the master that they name are reached by TLS, too", async () => {
  const cert = await ca.issue({ subject: "/CN=sentinel" });
  const port = await freePort();
  const config = join(pki.dir, "sentinel.conf");
  writeFileSync(
    config,
    [
      "port 0",
      `tls-port ${port}`,
      `tls-cert-file ${cert.certFile}`,
      `tls-key-file ${cert.keyFile}`,
      `tls-ca-cert-file ${ca.certFile}`,
      "tls-auth-clients no",
      "tls-replication yes",
      "bind 127.0.0.1",
      `sentinel monitor mymaster 127.0.0.1 ${open.port} 1`,
    ].join("\n"),
  );
  const sentinel = execa("redis-server", [config, "--sentinel"], { stdio: "ignore", reject: false });
  scope.own(sentinel, async (running) => {
    running.kill("SIGKILL");
    await running;
  });
  const url = `rediss+sentinel://drover:${ENCODED}@127.0.0.1:${port}/mymaster`;
  const { redis } = await reach(url, { caCerts: ca.certFile });
  await waitFor(async () => (await untilReady(redis, 250)) === undefined, {
    what: "the master by way of its sentinel",
  });
  expect(await echo(redis)).toBe("drover");
});

test("a cluster is reached by TLS, too", async () => {
  const { server, port } = await startTls("no", {
    more: ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-announce-ip", "127.0.0.1"],
  });
  const setUp = scope.own(new Redis(server.url), (client) => client.disconnect());
  await setUp.call("CLUSTER", "ADDSLOTSRANGE", 0, 16_383);
  await waitFor(async () => String(await setUp.call("CLUSTER", "INFO")).includes("cluster_state:ok"));
  const { redis, problem } = await reach(`rediss+cluster://drover:${ENCODED}@127.0.0.1:${port}`, {
    caCerts: ca.certFile,
  });
  expect(problem).toBeUndefined();
  expect(await redis.set("{drover}x", "1")).toBe("OK");
});

test("a password that is wrong is said to be", async () => {
  const { problem, redis } = await reach(
    `rediss://drover:wrong@localhost:${open.port}`,
    { caCerts: ca.certFile },
    { patienceMs: 250 },
  );
  redis.disconnect();
  expect(problem).toContain("neither this user nor this password");
});

test("files that cannot be used are an error of the start, all of them named", () => {
  const logger = pino({ level: "silent" });
  const files = { caCerts: "/nowhere/ca.pem", clientCert: own.keyFile, clientKey: own.keyFile };
  expect(() => openRedis({ url: "rediss://localhost:1", role: "worker", name: "x", logger, ...files })).toThrow(
    /DROVER_REDIS_CA_CERTS: the file \/nowhere\/ca\.pem.*DROVER_REDIS_CLIENT_CERT: holds no certificate/s,
  );
});
