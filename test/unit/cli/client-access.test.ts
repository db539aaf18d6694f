import { chmodSync, writeFileSync } from "node:fs";
import { createServer as createPlainServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer, type ServerOptions } from "node:https";
import type { Server } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openCertificates, type TestAuthority, type TestCertificate } from "../../helpers/certificates.ts";
import { runCli } from "./run-cli.ts";

const pki = openCertificates();
const TOKEN = "drover_abcd1234_s3cretS3cret";
const servers: Server[] = [];
let ca: TestAuthority;
let server: TestCertificate;
let own: TestCertificate;

beforeAll(async () => {
  ca = await pki.authority("/CN=ca");
  [server, own] = await Promise.all([ca.issue({ subject: "/CN=api" }), ca.issue({ subject: "/CN=me" })]);
});
afterEach(() => {
  for (const running of servers.splice(0)) running.close();
});
afterAll(() => pki[Symbol.asyncDispose]());

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function listen(running: Server, scheme: "http" | "https"): Promise<string> {
  servers.push(running);
  await new Promise<void>((resolve) => running.listen(0, "127.0.0.1", resolve));
  const address = running.address();
  if (address === null || typeof address === "string") throw new Error("not listening");
  return `${scheme}://localhost:${address.port}`;
}

const listVms: Answer = (_request, response) =>
  void response.setHeader("connection", "close").end(JSON.stringify({ items: [], next: null }));

/** An API with TLS; `seen` are the Authorization headers. */
async function serve(options: ServerOptions = {}, answer: Answer = listVms) {
  const seen: (string | undefined)[] = [];
  const running = createServer({ cert: server.cert, key: server.key, ...options }, (request, response) => {
    seen.push(request.headers.authorization);
    answer(request, response);
  });
  return { url: await listen(running, "https"), seen };
}

const problem =
  (status: number, code: string): Answer =>
  (_request, response) => {
    response.writeHead(status, { "content-type": "application/problem+json", "retry-after": "0", connection: "close" });
    response.end(
      JSON.stringify({ type: `urn:drover:error:${code}`, title: code, status, detail: "told", code, instance: "/" }),
    );
  };

const ls = (url: string, env: Record<string, string> = {}) =>
  runCli(["ls", "--json"], { env: { DROVER_URL: url, ...env } });

test("with the CA it trusts the API, and the token goes along", async () => {
  const { url, seen } = await serve();
  expect(await ls(url, { DROVER_CA_CERTS: ca.certFile, DROVER_TOKEN: TOKEN })).toMatchObject({ exitCode: 0, err: "" });
  expect(await ls(url, { DROVER_CA_CERTS: ca.cert })).toMatchObject({ exitCode: 0 });
  expect(seen).toEqual([`Bearer ${TOKEN}`, undefined]);
});

test("without the CA, or with another, the error names DROVER_CA_CERTS and nothing is sent", async () => {
  const { url, seen } = await serve();
  const other = await pki.authority("/CN=other");
  for (const env of [{}, { DROVER_CA_CERTS: other.certFile }]) {
    const run = await ls(url, { ...env, DROVER_TOKEN: TOKEN });
    expect(run.exitCode).toBe(4);
    expect(run.err).toContain("DROVER_CA_CERTS");
    expect(run.err).toContain("tls_failed");
  }
  expect(seen).toEqual([]);
});

test("an API that asks for a certificate gets one", async () => {
  const { url } = await serve({ ca: ca.cert, requestCert: true, rejectUnauthorized: true });
  const env = { DROVER_CA_CERTS: ca.certFile };
  const pair = { DROVER_CLIENT_CERT: own.certFile, DROVER_CLIENT_KEY: own.keyFile };
  expect(await ls(url, { ...env, ...pair })).toMatchObject({ exitCode: 0 });
  const without = await ls(url, env);
  expect(without.exitCode).toBe(4);
  expect(without.err).toContain("DROVER_CLIENT_CERT and DROVER_CLIENT_KEY");
});

test("a certificate for another name, and one that has expired, are the API's fault", async () => {
  const foreign = await ca.issue({ subject: "/CN=api", names: "DNS:elsewhere.example.org" });
  const old = await ca.issue({ subject: "/CN=api", days: -1 });
  for (const [pair, reason] of [
    [foreign, "made for another name"],
    [old, "has expired"],
  ] as const) {
    const { url } = await serve({ cert: pair.cert, key: pair.key });
    const run = await ls(url, { DROVER_CA_CERTS: ca.certFile });
    expect(run.err).toContain(reason);
  }
});

test("https where there is no TLS, and http where there is, are said", async () => {
  const plain = await listen(createPlainServer(listVms), "https");
  expect((await ls(plain, { DROVER_CA_CERTS: ca.certFile })).err).toContain("http://");
  const { url } = await serve();
  expect((await ls(url.replace("https:", "http:"))).err).toContain("https://");
});

test("files that cannot be used are wrong usage, by the variable's name", async () => {
  const run = await ls("https://localhost:1", { DROVER_CA_CERTS: "/nowhere.pem", DROVER_CLIENT_CERT: own.certFile });
  expect(run.exitCode).toBe(2);
  expect(run.err).toContain("DROVER_CA_CERTS");
  expect(run.err).toContain("DROVER_CLIENT_KEY");
});

test("the token may come from a file, which others should not read", async () => {
  const { url, seen } = await serve();
  const path = join(pki.dir, "token");
  writeFileSync(path, `${TOKEN}\n`, { mode: 0o600 });
  const env = { DROVER_CA_CERTS: ca.certFile, DROVER_TOKEN_FILE: path };
  expect(await ls(url, env)).toMatchObject({ exitCode: 0, err: "" });
  expect(seen).toEqual([`Bearer ${TOKEN}`]);
  chmodSync(path, 0o644);
  expect((await ls(url, env)).err).toContain(`chmod 0600 ${path}`);
  writeFileSync(path, "two\nlines");
  const run = await ls(url, env);
  expect(run).toMatchObject({ exitCode: 2 });
  expect(run.err).not.toContain("lines\n");
  expect((await ls(url, { DROVER_TOKEN_FILE: "/nowhere" })).err).toContain("DROVER_TOKEN_FILE");
});

test("a token on its way as plain text to another machine is warned of, and never shown", async () => {
  const signal = AbortSignal.abort(new Error("no network here"));
  const run = await runCli(["ls"], { env: { DROVER_URL: "http://192.0.2.1:7003", DROVER_TOKEN: TOKEN }, signal });
  expect(run.err).toContain("the token travels as plain text to 192.0.2.1:7003");
  expect(run.err).not.toContain(TOKEN);
});

test("a redirect to another origin gets no token", async () => {
  const { url, seen } = await serve({}, (_request, response) => {
    response.writeHead(307, { location: `${elsewhere.url}/v1/vms`, connection: "close" }).end();
  });
  const elsewhere = await serve();
  expect((await ls(url, { DROVER_CA_CERTS: ca.certFile, DROVER_TOKEN: TOKEN })).exitCode).toBe(4);
  expect([seen.length, elsewhere.seen.length]).toEqual([1, 0]);
});

test.each([
  [401, "unauthenticated", "DROVER_TOKEN or DROVER_TOKEN_FILE"],
  [403, "forbidden", "drover token add --role"],
])("%i is told with a way out", async (status, code, hint) => {
  const { url } = await serve({}, problem(status, code));
  const run = await ls(url, { DROVER_CA_CERTS: ca.certFile, DROVER_TOKEN: TOKEN });
  expect(run.exitCode).toBe(2);
  expect(run.err).toContain(hint);
  expect(run.err).not.toContain(TOKEN);
});

test("an API that asks to wait is asked again", async () => {
  let asked = 0;
  const { url } = await serve({}, (request, response) => {
    asked += 1;
    (asked < 3 ? problem(429, "too_many_requests") : listVms)(request, response);
  });
  expect(await ls(url, { DROVER_CA_CERTS: ca.certFile })).toMatchObject({ exitCode: 0 });
  expect(asked).toBe(3);
});

test("many requests end with the first refusal of who sends them", async () => {
  const { url, seen } = await serve({}, problem(401, "unauthenticated"));
  const env = { DROVER_URL: url, DROVER_CA_CERTS: ca.certFile };
  const run = await runCli(["submit", "--file", "-"], { env, stdin: "{}\n".repeat(200) });
  expect(run.exitCode).toBe(2);
  expect(seen.length).toBeLessThan(50);
});
