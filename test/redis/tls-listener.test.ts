import { copyFileSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { connect as connectPlain } from "node:net";
import { join } from "node:path";
import { connect, type SecureVersion, type TLSSocket } from "node:tls";
import { pino } from "pino";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { startApi } from "../../src/producer/start-api.ts";
import { verifiedSubject } from "../../src/runtime/tls/certificate-subject.ts";
import { openListenersTls } from "../../src/runtime/tls/listener-tls.ts";
import { openCertificates, type TestAuthority, type TestCertificate } from "../helpers/certificates.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openHttpWorld, testConfig } from "./http-world.ts";

const pki = openCertificates();
let ca: TestAuthority;
let server: TestCertificate;

beforeAll(async () => {
  ca = await pki.authority("/CN=ca");
  server = await ca.issue({ subject: "/CN=server" });
});
afterAll(() => pki[Symbol.asyncDispose]());

/** The API with a certificate of its own in files that a test may change; looked at every 20 ms. */
async function openTlsWorld(clientCa?: string) {
  const files = { cert: join(pki.dir, "live.crt"), key: join(pki.dir, "live.key") };
  const renew = (to: TestCertificate) => {
    copyFileSync(to.certFile, files.cert);
    copyFileSync(to.keyFile, files.key);
  };
  renew(server);
  const env = {
    MANAGER_HTTP_SERVER_CERT: files.cert,
    MANAGER_HTTP_SERVER_KEY: files.key,
    ...(clientCa === undefined ? {} : { MANAGER_HTTP_CLIENT_CA_CERTS: clientCa }),
  };
  const log: string[] = [];
  const logger = pino({ level: "info" }, { write: (line) => log.push(line) });
  const tls = openListenersTls(testConfig({ url: inject("redisUrl"), prefix: "{t}", env }), { logger, pollMs: 20 });
  const world = await openHttpWorld({ env, tls, listen: true });
  return {
    url: world.url.replace("http:", "https:"),
    world,
    files,
    renew,
    tls,
    log: () => log.join(""),
    async [Symbol.asyncDispose]() {
      await world[Symbol.asyncDispose]();
      tls.http?.stop();
    },
  };
}

/** One request on a connection of its own (or the agent's): its status, and who answered. */
function ask(url: string, options: object = {}): Promise<{ status: number; cn: string | string[] }> {
  return new Promise((resolve, reject) => {
    const asked = request(`${url}/health`, { ca: ca.cert, agent: false, ...options }, (response) => {
      const { CN: cn = "" } = (response.socket as TLSSocket).getPeerCertificate().subject;
      response.resume().on("end", () => resolve({ status: response.statusCode ?? 0, cn }));
    });
    asked.on("error", reject).end();
  });
}

test("renewed certificates count for the next handshake, and open connections go on", async () => {
  await using live = await openTlsWorld();
  const kept = new Agent({ ca: ca.cert, keepAlive: true, maxSockets: 1 });
  expect(await ask(live.url, { agent: kept })).toEqual({ status: 200, cn: "server" });
  let received = "";
  let isCut = false;
  const stream = request(`${live.url}/v1/events`, { ca: ca.cert, headers: { accept: "text/event-stream" } });
  stream.on("response", (response) => {
    response.on("data", (chunk: Buffer) => {
      received += chunk.toString();
    });
    response.on("close", () => {
      isCut = true;
    });
  });
  stream.on("error", () => undefined).end();
  await waitFor(() => received !== "", { what: "the event stream to stand" });

  live.renew(await ca.issue({ subject: "/CN=renewed" }));
  await waitFor(() => live.log().includes("new certificates are in force"), { what: "the reload" });

  expect(await ask(live.url)).toEqual({ status: 200, cn: "renewed" });
  expect(await ask(live.url, { agent: kept }), "the same connection").toEqual({ status: 200, cn: "server" });
  kept.destroy();
  const submitted = await live.world.app.inject({ method: "POST", url: "/v1/vms", payload: {} });
  const { id } = submitted.json<{ id: string }>();
  await waitFor(() => received.includes(id), { what: "the event on the old connection" });
  expect(isCut).toBe(false);
  stream.destroy();
});

test("a bad renewal is said once, leaves the old pair in force, and a good one mends it", async () => {
  await using live = await openTlsWorld();
  const stranger = await ca.issue({ subject: "/CN=stranger" });
  copyFileSync(stranger.keyFile, live.files.key);
  const complaint = "the changed certificates cannot be used";
  await waitFor(() => live.log().includes(complaint), { what: "the complaint" });
  live.tls.http?.reload();
  live.tls.http?.reload();
  expect(live.log().split(complaint)).toHaveLength(2);
  expect(live.log()).toContain("MANAGER_HTTP_SERVER_KEY");
  expect(await ask(live.url)).toEqual({ status: 200, cn: "server" });

  writeFileSync(live.files.cert, "-----BEGIN CERTIFICATE-----\nhalf");
  await waitFor(() => live.log().split(complaint).length === 3, { what: "the complaint about the other fault" });
  expect(await ask(live.url)).toEqual({ status: 200, cn: "server" });
  live.renew(stranger);
  await waitFor(() => live.log().includes("new certificates are in force"));
  expect(await ask(live.url)).toEqual({ status: 200, cn: "stranger" });
});

test("only clients of the clients' CA get in, by their subject", async () => {
  const clients = await pki.authority("/CN=clients");
  const caFile = join(pki.dir, "clients.pem");
  copyFileSync(clients.certFile, caFile);
  await using live = await openTlsWorld(caFile);
  const subjects: (string | undefined)[] = [];
  live.world.app.server.on("request", ({ socket }) => subjects.push(verifiedSubject(socket)));
  const alice = await clients.issue({ subject: "/C=DE/O=Example/CN=alice" });
  const [late, foreign] = [
    await clients.issue({ subject: "/CN=late", days: -1 }),
    await ca.issue({ subject: "/CN=foreign" }),
  ];

  expect(await ask(live.url, alice)).toMatchObject({ status: 200 });
  expect(subjects).toEqual(["CN=alice,O=Example,C=DE"]);
  for (const refused of [{}, late, foreign]) await expect(ask(live.url, refused)).rejects.toThrow();
  expect(subjects).toHaveLength(1);

  const session = await sessionOf(live.url, alice);
  copyFileSync(ca.certFile, caFile);
  await waitFor(() => live.log().includes("new certificates are in force"));
  await expect(ask(live.url, alice), "the CA was taken away").rejects.toThrow();
  await expect(ask(live.url, { ...alice, session }), "a session from before").rejects.toThrow();
  expect(await ask(live.url, foreign)).toMatchObject({ status: 200 });
});

test.each<SecureVersion>(["TLSv1", "TLSv1.1"])("%s is refused", async (version) => {
  await using live = await openTlsWorld();
  const old = { minVersion: version, maxVersion: version, ciphers: "DEFAULT@SECLEVEL=0" };
  await expect(ask(live.url, old)).rejects.toThrow("alert protocol version");
  await expect(ask(live.url, { maxVersion: "TLSv1.2", ciphers: "AES128-SHA" }), "no forward secrecy").rejects.toThrow();
  expect(await ask(live.url, { maxVersion: "TLSv1.2" })).toMatchObject({ status: 200 });
});

test("a start names every variable whose file cannot be used", async () => {
  const expired = await ca.issue({ subject: "/CN=old", days: -1 });
  const env = {
    MANAGER_HTTP_SERVER_CERT: expired.certFile,
    MANAGER_HTTP_SERVER_KEY: expired.keyFile,
    MANAGER_GRPC_SERVER_CERT: server.certFile,
    MANAGER_GRPC_SERVER_KEY: expired.keyFile,
  };
  const config = testConfig({ url: inject("redisUrl"), prefix: "{t}", env });
  await expect(startApi({ config, logger: pino({ level: "silent" }) })).rejects.toMatchObject({
    code: "config_invalid",
    problems: [
      { field: "MANAGER_HTTP_SERVER_CERT", message: expect.stringContaining("expired at") },
      { field: "MANAGER_GRPC_SERVER_KEY", message: expect.stringContaining("does not belong") },
    ],
  });
});

test("a certificate that ends within 14 days is said at the start, once a day", async () => {
  const short = await ca.issue({ subject: "/CN=short", days: 13 });
  const env = { MANAGER_HTTP_SERVER_CERT: short.certFile, MANAGER_HTTP_SERVER_KEY: short.keyFile };
  const log: string[] = [];
  const logger = pino({ level: "info" }, { write: (line) => log.push(line) });
  const tls = openListenersTls(testConfig({ url: inject("redisUrl"), prefix: "{t}", env }), { logger });
  tls.http?.reload();
  tls.http?.stop();
  expect(log.join("").match(/expires soon/g)).toHaveLength(1);
});

/** A TLS 1.3 session that a client could resume. */
function sessionOf(url: string, own: TestCertificate): Promise<Buffer> {
  const { hostname: host, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), ca: ca.cert, cert: own.cert, key: own.key }, () => {
      socket.write("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    });
    socket.on("session", (session: Buffer) => {
      resolve(session);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

test("connections whose handshake failed do not stay, and one that never ends holds up nobody", async () => {
  const clients = await pki.authority("/CN=clients");
  const live = await openTlsWorld(clients.certFile);
  const { server } = live.world.app;
  const count = () =>
    new Promise<number>((resolve, reject) =>
      server.getConnections((error, open) => (error === null ? resolve(open) : reject(error))),
    );
  const { port } = new URL(live.url);
  const sockets = ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "PING\r\n", ""].map((text) => {
    const socket = connectPlain(Number(port), "127.0.0.1").on("error", () => undefined);
    socket.write(text);
    return socket;
  });
  try {
    await expect(ask(live.url), "no certificate").rejects.toThrow();
    await waitFor(async () => (await count()) === 1, { timeoutMs: 3_000, what: "all but the silent one to end" });
  } finally {
    const startedMs = performance.now();
    await live[Symbol.asyncDispose]();
    expect(performance.now() - startedMs).toBeLessThan(3_000);
    for (const socket of sockets) socket.destroy();
  }
});
