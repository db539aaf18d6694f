import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { fileURLToPath } from "node:url";
import type { FastifyInstance, LightMyRequestResponse } from "fastify";
import { pino } from "pino";
import { expect, inject, test } from "vitest";
import type { Role } from "../../src/contract/role.ts";
import { startApi } from "../../src/producer/start-api.ts";
import { TokenStore } from "../../src/queue/token-store.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type HttpWorld, openHttpWorld, testConfig } from "./http-world.ts";

const BROWSER = { accept: "text/html,application/xhtml+xml,*/*;q=0.8", "sec-fetch-site": "same-origin" };

interface PagesWorld extends AsyncDisposable {
  readonly http: HttpWorld;
  readonly app: FastifyInstance;
  readonly operator: string;
  readonly viewer: string;
  readonly tokens: TokenStore;
}

/** An API with a token of each kind. */
async function openPagesWorld(env: Readonly<Record<string, string>> = {}): Promise<PagesWorld> {
  const http = await openHttpWorld({ env });
  const tokens = new TokenStore({ redis: http.redis, keys: http.keys });
  const add = async (owner: string, role: Role) =>
    (await tokens.add({ owner, role, label: "", createdBy: "test", expiresAtMs: undefined })).text;
  const operator = await add("ada", "operator");
  const viewer = await add("eve", "viewer");
  return { http, app: http.app, operator, viewer, tokens, [Symbol.asyncDispose]: () => http[Symbol.asyncDispose]() };
}

const form = (fields: Record<string, string>) => new URLSearchParams(fields).toString();
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };

function postForm(app: FastifyInstance, url: string, fields: Record<string, string>, headers: object = {}) {
  return app.inject({ method: "POST", url, payload: form(fields), headers: { ...BROWSER, ...FORM_TYPE, ...headers } });
}

/** The cookie as a browser sends it back. */
function cookieOf(reply: LightMyRequestResponse): string {
  const [set = ""] = [reply.headers["set-cookie"] ?? []].flat();
  return set.split(";", 1)[0] ?? "";
}

function formTokenOf(page: LightMyRequestResponse): string {
  return /name="formToken" value="([^"]+)"/.exec(page.body)?.[1] ?? "";
}

test("who is not logged in is led to the login and from there to where it wanted to go", async () => {
  await using world = await openPagesWorld();
  const { app } = world;
  const asked = await app.inject({ url: "/board/queue/vm.default?page=2", headers: BROWSER });
  expect([asked.statusCode, asked.headers.location]).toEqual([
    303,
    `/login?next=${encodeURIComponent("/board/queue/vm.default?page=2")}`,
  ]);
  const page = await app.inject({ url: String(asked.headers.location), headers: BROWSER });
  expect([page.statusCode, page.headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
  const next = /name="next" value="([^"]+)"/.exec(page.body)?.[1] ?? "";
  expect(next).toBe("/board/queue/vm.default?page=2");

  const login = await postForm(app, "/login", { token: world.operator, next });
  expect([login.statusCode, login.headers.location]).toEqual([303, next]);
  const cookie = cookieOf(login);
  const board = await app.inject({ url: next, headers: { ...BROWSER, cookie } });
  expect(board.statusCode).toBe(200);
  const again = await app.inject({ url: "/login?next=/docs", headers: { ...BROWSER, cookie } });
  expect([again.statusCode, again.headers.location], "nothing to do there").toEqual([303, "/docs"]);
});

test.each(["/", "/board", "/docs", "/board/api/queues"])("a program gets 401 as a problem at %s", async (url) => {
  await using world = await openPagesWorld();
  for (const accept of ["*/*", "application/json", undefined]) {
    const reply = await world.app.inject({ url, headers: accept === undefined ? {} : { accept } });
    expect([reply.statusCode, reply.json().code]).toEqual([401, "unauthenticated"]);
  }
});

test("API routes are for programs: a browser gets the problem, too", async () => {
  await using world = await openPagesWorld();
  const reply = await world.app.inject({ url: "/v1/vms", headers: BROWSER });
  expect([reply.statusCode, reply.json().code]).toEqual([401, "unauthenticated"]);
});

test("the cookie is for this server alone, and Redis does not know its value", async () => {
  await using world = await openPagesWorld();
  const { app, http } = world;
  const login = await postForm(app, "/login", { token: world.operator });
  const [set = ""] = [login.headers["set-cookie"] ?? []].flat();
  expect(set).toMatch(/^drover=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=43200$/);
  const value = set.slice("drover=".length).split(";")[0] ?? "";
  const keys = await http.redis.keys(`*${http.keys.session("*").slice(http.keys.prefix.length)}`);
  expect(keys).toHaveLength(1);
  expect(keys.join()).not.toContain(value);
  expect(await http.redis.get(keys[0] ?? "")).not.toContain(value);
  expect(await http.redis.pttl(keys[0] ?? "")).toBeGreaterThan(11 * 3600_000);
  const behindProxy = await postForm(
    app,
    "/login",
    { token: world.operator },
    { origin: "https://drover.example", host: "drover.example" },
  );
  expect(behindProxy.statusCode, "an origin that is not allowed").toBe(421);
});

test("behind a proxy that speaks TLS the cookie is of the kind that only this host can set", async () => {
  await using world = await openPagesWorld({
    DROVER_ALLOWED_HOSTS: "drover.example",
    DROVER_ALLOWED_ORIGINS: "https://drover.example",
  });
  const from = { host: "drover.example", origin: "https://drover.example" };
  const login = await postForm(world.app, "/login", { token: world.operator }, from);
  expect(login.headers["set-cookie"]).toMatch(/^__Host-drover=[\w-]{43}; Path=\/; HttpOnly; .*; Secure$/);
  expect(login.headers["set-cookie"]).not.toContain("Domain");
  const planted = `drover=${"a".repeat(43)}; ${cookieOf(login)}`;
  expect((await world.app.inject({ url: "/v1/vms", headers: { ...from, cookie: planted } })).statusCode).toBe(200);
});

test("a login of nobody shows the page again, says so aloud, and sets no cookie", async () => {
  await using world = await openPagesWorld();
  const reply = await postForm(world.app, "/login", { token: "CANARY", next: "/docs" });
  expect(reply.statusCode).toBe(401);
  expect(reply.body).toContain('role="alert"');
  expect(reply.body).toContain('aria-invalid="true"');
  expect(reply.body).toContain('value="/docs"');
  expect(reply.body).not.toContain("CANARY");
  expect(reply.headers["set-cookie"]).toBeUndefined();
});

test.each([
  ["an empty form", "", 400],
  ["two tokens", "token=a&token=b", 400],
  ["no form", '{"token":"a"}', 415],
  ["a very long form", `token=${"a".repeat(9_000)}`, 413],
] as const)("%s is refused", async (_what, payload, status) => {
  await using world = await openPagesWorld();
  const type = payload.startsWith("{") ? { "content-type": "application/json" } : FORM_TYPE;
  const headers = { "sec-fetch-site": "same-origin", ...type };
  const reply = await world.app.inject({ method: "POST", url: "/login", payload, headers });
  expect(reply.statusCode).toBe(status);
});

test("a login is a new session each time: the one before, planted or not, is over", async () => {
  await using world = await openPagesWorld();
  const { app } = world;
  const first = cookieOf(await postForm(app, "/login", { token: world.viewer }));
  const second = cookieOf(await postForm(app, "/login", { token: world.operator }, { cookie: first }));
  expect(second).not.toBe(first);
  expect((await app.inject({ url: "/v1/vms", headers: { cookie: first } })).statusCode).toBe(401);
  expect((await app.inject({ url: "/v1/vms", headers: { cookie: second } })).statusCode).toBe(200);
  const planted = `drover=${"a".repeat(43)}`;
  const third = cookieOf(await postForm(app, "/login", { token: world.operator }, { cookie: planted }));
  expect(third).not.toBe(planted);
  expect((await app.inject({ url: "/v1/vms", headers: { cookie: planted } })).statusCode).toBe(401);
});

test("logging out ends the session on every server, and the cookie with it", async () => {
  await using world = await openPagesWorld();
  const { app } = world;
  const cookie = cookieOf(await postForm(app, "/login", { token: world.operator }));
  const home = await app.inject({ url: "/", headers: { ...BROWSER, cookie } });
  expect(home.body).toContain("<b>ada</b> (operator)");
  const out = await postForm(app, "/logout", { formToken: formTokenOf(home) }, { cookie });
  expect([out.statusCode, out.headers.location]).toEqual([303, "/login"]);
  expect([out.headers["set-cookie"]].flat().join()).toContain("Max-Age=0");
  expect((await app.inject({ url: "/v1/vms", headers: { cookie } })).statusCode).toBe(401);
  expect((await postForm(app, "/logout", {}, {})).statusCode, "without a session it is no error").toBe(303);
});

test("a token that is removed takes its sessions along", async () => {
  await using world = await openPagesWorld();
  const cookie = cookieOf(await postForm(world.app, "/login", { token: world.operator }));
  for (const { id, owner } of await world.tokens.list()) if (owner === "ada") await world.tokens.remove(id);
  const ask = () => world.app.inject({ url: "/v1/vms", headers: { cookie } });
  await waitFor(async () => (await ask()).statusCode === 401, { timeoutMs: 7_000, what: "the session to end" });
});

test.each([
  ["no sign where it comes from", {}],
  ["another site of the same family", { "sec-fetch-site": "same-site" }],
  ["nobody knows where", { "sec-fetch-site": "none" }],
])("on the word of a cookie nothing is changed: %s", async (_what, headers) => {
  await using world = await openPagesWorld();
  const { app, http } = world;
  const cookie = cookieOf(await postForm(app, "/login", { token: world.operator }));
  const json = { "content-type": "application/json", ...headers };
  const submit = (more: object) =>
    app.inject({ method: "POST", url: "/v1/vms", payload: "{}", headers: { ...json, ...more } });
  expect((await submit({ cookie })).json().code).toBe("csrf_failed");
  expect(await http.redis.exists(http.keys.allVms)).toBe(0);
  expect((await submit({ cookie, authorization: `Bearer ${world.operator}` })).statusCode, "a token needs none").toBe(
    202,
  );
  const login = {
    method: "POST",
    url: "/login",
    payload: `token=${world.operator}`,
    headers: { ...FORM_TYPE, ...headers },
  } as const;
  expect((await app.inject(login)).statusCode, "nor is anybody logged in").toBe(403);
});

test("a form without the word of its session does nothing", async () => {
  await using world = await openPagesWorld();
  const { app } = world;
  const cookie = cookieOf(await postForm(app, "/login", { token: world.operator }));
  const other = cookieOf(await postForm(app, "/login", { token: world.viewer }));
  const foreign = formTokenOf(await app.inject({ url: "/", headers: { ...BROWSER, cookie: other } }));
  expect(foreign.length).toBeGreaterThan(20);
  for (const formToken of ["", foreign]) {
    const reply = await postForm(app, "/logout", { formToken }, { cookie });
    expect(reply.statusCode).toBe(403);
    expect(reply.body, "a page, since a person looks").toContain("<h1>");
  }
  expect((await app.inject({ url: "/v1/vms", headers: { cookie } })).statusCode).toBe(200);
});

test("a page of drover may change things with the cookie", async () => {
  await using world = await openPagesWorld();
  const { app } = world;
  const cookie = cookieOf(await postForm(app, "/login", { token: world.operator }));
  const headers = { cookie, "content-type": "application/json", "sec-fetch-site": "same-origin" };
  expect((await app.inject({ method: "POST", url: "/v1/vms", payload: "{}", headers })).statusCode).toBe(202);
});

test("pages run no script but the server's own, load nothing from elsewhere, and show names as text", async () => {
  await using world = await openPagesWorld();
  const { app } = world;
  const cookie = cookieOf(await postForm(app, "/login", { token: world.viewer }));
  const home = await app.inject({ url: "/", headers: { ...BROWSER, cookie } });
  expect(home.body).toContain("<b>eve</b> (viewer)");
  const login = await app.inject({ url: "/login", headers: BROWSER });
  expect(login.body).not.toMatch(/<script/i);
  for (const page of [home, login]) {
    expect(page.body).not.toMatch(/<style| style=| on\w+=|javascript:/i);
    expect([...page.body.matchAll(/(?:src|href|action)="([^"]+)"/g)].map(([, at]) => at?.[0])).not.toContain("h");
    expect(page.headers).toMatchObject({
      "content-security-policy": expect.stringMatching(/^default-src 'none'; .*frame-ancestors 'none'/),
      "x-content-type-options": "nosniff",
      "referrer-policy": "same-origin",
      "cache-control": "no-store",
    });
    expect(page.headers["content-security-policy"]).not.toContain("unsafe");
  }
  const style = await app.inject("/pages/drover.css");
  expect([style.statusCode, style.headers["content-type"]]).toEqual([200, "text/css; charset=utf-8"]);
  expect(style.body).not.toMatch(/url\(|@import/);
});

test("the one inline text of the fleet page is its import map, and a browser keeps what that names", async () => {
  await using world = await openPagesWorld();
  const { app } = world;
  const cookie = cookieOf(await postForm(app, "/login", { token: world.viewer }));
  const page = await app.inject({ url: "/vms/whatever?x=1", headers: { ...BROWSER, cookie } });
  expect(page.statusCode, "what it shows is its script's matter").toBe(200);
  const inline = [...page.body.matchAll(/<script[^>]*>([^<]+)<\/script>/g)].map(([, text = ""]) => text);
  expect(inline).toHaveLength(1);
  const digest = createHash("sha256")
    .update(inline[0] ?? "")
    .digest("base64");
  const policy = String(page.headers["content-security-policy"]);
  expect(policy).toContain(`script-src 'self' 'sha256-${digest}';`);
  expect(policy).toContain("require-trusted-types-for 'script'");
  const named = [...page.body.matchAll(/"(\/console\/[^"]+)"/g)].map(([, path = ""]) => path);
  expect(named.length).toBeGreaterThan(20);
  for (const url of new Set(named)) {
    const file = await app.inject(url); // asks nobody who it is: nothing of this is anybody's
    expect([url, file.statusCode]).toEqual([url, 200]);
    expect(file.headers["content-type"]).toMatch(/^text\/(javascript|css); charset=utf-8$/);
    expect(file.headers["cache-control"]).toBe("public, max-age=31536000, immutable");
  }
  for (const url of [
    "/console/0123456789abcdef/main.js",
    `${named[0]}x`,
    "/console/",
    `${named[0]}/../../../package.json`,
  ]) {
    const reply = await app.inject(url);
    expect([url, reply.statusCode]).toEqual([url, 404]);
  }
});

test("a viewer who opens the dashboard reads why not, and is not sent round in circles", async () => {
  await using world = await openPagesWorld();
  const cookie = cookieOf(await postForm(world.app, "/login", { token: world.viewer }));
  const reply = await world.app.inject({ url: "/board", headers: { ...BROWSER, cookie } });
  expect([reply.statusCode, reply.headers["content-type"]]).toEqual([403, "text/html; charset=utf-8"]);
  expect(reply.body).toContain("this needs the role operator");
});

test("the dashboard takes no change from an operator either, and what it shows of a VM is data", async () => {
  await using world = await openPagesWorld();
  const cookie = cookieOf(await postForm(world.app, "/login", { token: world.operator }));
  const headers = { cookie, "content-type": "application/json", "sec-fetch-site": "same-origin" };
  const name = "<img src=x onerror=alert(1)>";
  await world.app.inject({ method: "POST", url: "/v1/vms", payload: { name }, headers });
  const write = await world.app.inject({
    method: "PUT",
    url: "/board/api/queues/vm.default/pause",
    payload: "{}",
    headers,
  });
  expect([write.statusCode, write.json().code]).toEqual([405, "method_not_allowed"]);
  const shown = await world.app.inject({ url: "/board/api/queues?activeQueue=vm.default&status=prioritized", headers });
  expect(shown.body).toContain(name);
  expect(shown.headers).toMatchObject({
    "content-type": expect.stringMatching(/^application\/json/),
    "x-content-type-options": "nosniff",
    "content-security-policy": expect.stringMatching(/^default-src 'none'; script-src 'self';/),
  });
});

test("data is never a page, and only over TLS a browser is told to come back by it", async () => {
  await using http = await openHttpWorld({ env: { DROVER_ALLOWED_HOSTS: "drover.example" } });
  const plain = await http.app.inject({ url: "/v1/vms", headers: { host: "drover.example" } });
  expect(plain.headers["content-security-policy"]).toMatch(/^default-src 'none'; base-uri 'none'; form-action 'none'/);
  expect(plain.headers["strict-transport-security"]).toBeUndefined();
  const cert = fileURLToPath(new URL("../fixtures/tls/cert.pem", import.meta.url));
  const api = await startApi({
    config: testConfig({
      url: inject("redisUrl"),
      prefix: http.keys.prefix,
      env: {
        MANAGER_HTTP_SERVER_CERT: cert,
        MANAGER_HTTP_SERVER_KEY: fileURLToPath(new URL("../fixtures/tls/key.pem", import.meta.url)),
        DROVER_ALLOWED_HOSTS: "drover.example",
      },
    }),
    logger: pino({ level: "silent" }),
  });
  const hsts = async (host: string) => {
    const asked = request(`${api.url}/health`, {
      ca: readFileSync(cert),
      headers: { host },
      servername: "localhost",
      agent: false,
    }).end();
    const [response]: IncomingMessage[] = await once(asked, "response");
    response?.resume();
    return response?.headers["strict-transport-security"];
  };
  try {
    expect(await hsts("drover.example")).toBe("max-age=31536000");
    expect(await hsts("localhost"), "other services of this machine have that name").toBeUndefined();
  } finally {
    await api.close();
  }
});

test("on loopback, while nobody has a token, no login is asked for", async () => {
  await using world = await openHttpWorld();
  const home = await world.app.inject({ url: "/", headers: BROWSER });
  expect(home.body).toContain("You are the local operator");
  expect(home.body, "nothing to log out of").not.toContain("/logout");
  const login = await world.app.inject({ url: "/login?next=/board", headers: BROWSER });
  expect([login.statusCode, login.headers.location]).toEqual([303, "/board"]);
});
