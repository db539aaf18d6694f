import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { FastifyInstance, HTTPMethods, RouteOptions } from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { mayAct, ROLES, type Role } from "../../src/contract/role.ts";
import { TokenStore } from "../../src/queue/token-store.ts";
import { acceptInput } from "../helpers/queue-world.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

/** Who may use what. A route that is not here, or not so, fails. */
const RULES: Readonly<Record<string, Role | "public">> = {
  "POST /v1/batches": "submitter",
  "GET /v1/batches": "viewer",
  "GET /v1/batches/:id": "viewer",
  "GET /v1/batches/:id/items": "viewer",
  "GET /v1/batches/:id/results": "viewer",
  "DELETE /v1/batches/:id": "submitter",
  "POST /v1/batches/:id/retry-failed": "submitter",
  "POST /v1/vms": "submitter",
  "GET /v1/vms": "viewer",
  "GET /v1/vms/:id": "viewer",
  "DELETE /v1/vms/:id": "submitter",
  "POST /v1/vms/:id/retry": "submitter",
  "GET /v1/vms/:id/console": "viewer",
  "GET /v1/vms/:id/attestation-policy": "viewer",
  "GET /v1/events": "viewer",
  "GET /v1/failures": "viewer",
  "POST /v1/failures/:id/retry": "submitter",
  "POST /v1/failures/:id/dismiss": "submitter",
  "GET /metrics": "operator",
  "GET /v1/hosts": "operator",
  "GET /v1/hosts/:id": "operator",
  "DELETE /v1/hosts/:id": "operator",
  "POST /v1/hosts/:id/cordon": "operator",
  "POST /v1/hosts/:id/drain": "operator",
  "POST /v1/hosts/:id/evacuate": "operator",
  "POST /v1/hosts/:id/resume": "operator",
  "GET /openapi.json": "viewer",
  "GET /": "viewer",
  "GET /vms": "viewer",
  "GET /vms/:id": "viewer",
  "GET /batches": "viewer",
  "GET /batches/:id": "viewer",
  "GET /hosts": "viewer",
  "GET /hosts/:id": "viewer",
  "GET /failures": "viewer",
  "GET /submit": "viewer",
  "GET /console/*": "public",
  "GET /health": "public",
  "GET /ready": "public",
  "GET /login": "public",
  "POST /login": "public",
  "POST /logout": "public",
  "GET /pages/drover.css": "public",
};
const KIT_RULES: readonly (readonly [RegExp, Role])[] = [
  [/^\/docs(\/|$)/, "viewer"],
  [/^\/board(\/|$)/, "operator"],
];

const Started = z.object({ fastify: z.custom<FastifyInstance>() });

interface Found {
  readonly method: HTTPMethods;
  readonly url: string;
  readonly rule: Role | "public" | undefined;
}

const found: Found[] = [];
const log: string[] = [];
let world: HttpWorld;
let tokens: TokenStore;
const text = { viewer: "", submitter: "", operator: "", foreign: "", expired: "", revoked: "" };

/** Sees every app from its first moment on, without the app's knowing. */
function watchRoutes(message: unknown): void {
  Started.parse(message).fastify.addHook("onRoute", ({ method, url }: RouteOptions) => {
    for (const one of [method].flat()) {
      const kit = KIT_RULES.find(([path]) => path.test(url))?.[1];
      found.push({ method: one, url, rule: kit ?? RULES[`${one === "HEAD" ? "GET" : one} ${url}`] });
    }
  });
}

let askedFrom = 0;
/** Each from an address of its own, so that no limit of failures is met. */
function ask(method: HTTPMethods, url: string, headers: Record<string, string> = {}) {
  askedFrom += 1;
  const remoteAddress = `10.1.${askedFrom >> 8}.${askedFrom & 255}`;
  return world.app.inject({ method, url, headers, remoteAddress });
}
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

beforeAll(async () => {
  subscribe("fastify.initialization", watchRoutes);
  world = await openHttpWorld({ log, limits: { recheckCallerMs: 50 }, listen: true });
  unsubscribe("fastify.initialization", watchRoutes);
  tokens = new TokenStore({ redis: world.redis, keys: world.keys });
  const add = (owner: string, role: Role, expiresAtMs?: number) =>
    tokens.add({ owner, role, label: "", createdBy: "test", expiresAtMs });
  for (const role of ROLES) text[role] = (await add("red", role)).text;
  text.foreign = (await add("blue", "submitter")).text;
  text.expired = (await add("red", "operator", Date.now() - 1)).text;
  const revoked = await add("red", "operator");
  await tokens.remove(revoked.token.id);
  text.revoked = revoked.text;
});
afterAll(() => world[Symbol.asyncDispose]());

const fill = (url: string, id: string) => url.replace(":id", id).replace(/:\w+|\*/g, "x");

test("every route of the app has the rule that this test knows of", () => {
  expect(found.length).toBeGreaterThan(25);
  expect(found.filter(({ rule }) => rule === undefined)).toEqual([]);
  const urls = found.map(({ method, url }) => `${method} ${url}`);
  expect(Object.keys(RULES).filter((route) => !urls.includes(route))).toEqual([]);
  expect(urls.some((url) => url.startsWith("GET /board"))).toBe(true);
});

test("without a token that counts every route answers 401, and with too small a role 403", async () => {
  const last = text.operator.slice(-1) === "a" ? "b" : "a";
  const refused = [
    {},
    bearer("no-token"),
    bearer(`${text.operator.slice(0, -1)}${last}`),
    bearer(text.expired),
    bearer(text.revoked),
    { authorization: `Basic ${Buffer.from(`x:${text.operator}`).toString("base64")}` },
    { authorization: text.operator },
    { cookie: `drover=${text.operator}`, "sec-fetch-site": "same-origin" },
  ];
  const { vmId } = acceptInput();
  for (const { method, url, rule } of found) {
    const path = fill(url, vmId);
    const what = `${method} ${path}`;
    if (rule === "public") {
      expect((await ask(method, path, { accept: "x/x" })).statusCode, what).not.toBe(401);
      continue;
    }
    for (const headers of refused) {
      const reply = await ask(method, path, headers);
      expect([what, headers, reply.statusCode]).toEqual([what, headers, 401]);
      expect(reply.headers["www-authenticate"], what).toMatch(/^Bearer/);
    }
    for (const role of ROLES) {
      // What no route can answer with is seen after the caller and before the work.
      const { statusCode } = await ask(method, path, { ...bearer(text[role]), accept: "x/x" });
      if (!mayAct(role, rule ?? "operator")) expect([what, role, statusCode]).toEqual([what, role, 403]);
      else expect([401, 403], `${what} as ${role}`).not.toContain(statusCode);
    }
  }
});

test("another owner's VM does not exist for anybody but operators", async () => {
  const input = acceptInput({ name: "theirs" }, { owner: "blue" });
  await world.deps.store.accept(input);
  const routes = found.filter(({ url, method }) => url.startsWith("/v1/vms/:id") && method !== "HEAD");
  expect(routes.length).toBeGreaterThanOrEqual(5);
  for (const { method, url, rule } of routes) {
    const reply = await ask(method, fill(url, input.vmId), bearer(text.submitter));
    expect([method, url, reply.statusCode, reply.json().code]).toEqual([method, url, 404, "vm_not_found"]);
    if (rule !== "viewer") continue;
    expect((await ask(method, fill(url, input.vmId), bearer(text.foreign))).statusCode, url).not.toBe(404);
    expect((await ask(method, fill(url, input.vmId), bearer(text.operator))).statusCode, url).not.toBe(404);
  }
  expect((await world.deps.store.get(input.vmId))?.state, "and nothing was done to it").toBe("queued");
  const list = async (token: string, query = "") =>
    (await ask("GET", `/v1/vms${query}`, bearer(token))).json().items.map(({ id }: { id: string }) => id);
  expect(await list(text.viewer)).toEqual([]);
  expect(await list(text.foreign)).toEqual([input.vmId]);
  expect(await list(text.operator)).toEqual([input.vmId]);
  expect(await list(text.operator, "?owner=red")).toEqual([]);
  expect((await ask("GET", "/v1/vms?owner=blue", bearer(text.viewer))).json()).toMatchObject({ code: "forbidden" });
  // A purged one tells no more.
  await world.redis.del(world.keys.record(input.vmId));
  const mark = { reason: "purged", by: "drover", atMs: 1, owner: "blue" };
  await world.redis.set(world.keys.mark(input.vmId), JSON.stringify(mark));
  for (const [token, status] of [
    [text.viewer, 404],
    [text.foreign, 410],
    [text.operator, 410],
  ] as const)
    expect((await ask("GET", `/v1/vms/${input.vmId}`, bearer(token))).statusCode).toBe(status);
});

test("events are the owner's own, also those of the past; an operator reads all", async () => {
  const [red, blue] = await Promise.all(
    [text.submitter, text.foreign].map(async (token) => {
      const reply = await fetch(`${world.url}/v1/vms`, {
        method: "POST",
        headers: { ...bearer(token), "content-type": "application/json" },
        body: "{}",
      });
      return z.object({ id: z.string(), owner: z.string() }).parse(await reply.json());
    }),
  );
  expect([red?.owner, blue?.owner]).toEqual(["red", "blue"]);
  const subjects = async (token: string, until: string | undefined) => {
    const gone = new AbortController();
    const headers = { ...bearer(token), "last-event-id": "0" };
    const { body } = await fetch(`${world.url}/v1/events`, { headers, signal: gone.signal });
    let read = "";
    for await (const piece of body?.pipeThrough(new TextDecoderStream()) ?? []) {
      read += piece;
      if (read.includes(`"subject":"${until}"`)) break;
    }
    gone.abort();
    return read;
  };
  expect(await subjects(text.viewer, red?.id)).not.toContain('"owner":"blue"');
  expect(await subjects(text.foreign, blue?.id)).not.toContain('"owner":"red"');
  const all = await subjects(text.operator, blue?.id);
  expect(all).toContain('"owner":"blue"');
});

test("a stream ends with the token that opened it", async () => {
  const { text: brief } = await tokens.add({
    owner: "red",
    role: "viewer",
    label: "",
    createdBy: "test",
    expiresAtMs: Date.now() + 600,
  });
  const { status, body } = await fetch(`${world.url}/v1/events`, { headers: bearer(brief) });
  expect(status).toBe(200);
  const read = async () => {
    for await (const _piece of body ?? []);
  };
  await read().catch(() => undefined); // cut off, or at its end: over
  expect((await fetch(`${world.url}/v1/events`, { headers: bearer(brief) })).status).toBe(401);
});

const AuditLine = z.object({ audit: z.literal(true), requestId: z.string(), action: z.string(), outcome: z.string() });

function auditOf(requestId: unknown) {
  const lines = log.filter((line) => line.includes('"audit":true') && line.includes(String(requestId)));
  return lines.map((line) => AuditLine.loose().parse(JSON.parse(line)));
}

test("every change leaves exactly one line that says who, what, where from and what came of it", async () => {
  const changes = found.filter(({ method }) => !["GET", "HEAD", "OPTIONS"].includes(method));
  expect(changes.length).toBeGreaterThan(6);
  for (const { method, url, rule } of changes) {
    const { vmId } = acceptInput();
    for (const headers of [{}, bearer(text.operator)]) {
      const reply = await ask(method, fill(url, vmId), { ...headers, "sec-fetch-site": "same-origin" });
      const lines = await waitFor(() => auditOf(reply.headers["x-request-id"]).slice(0, 2), {
        what: `${method} ${url}`,
      });
      expect(lines.length, `${method} ${url}`).toBe(1);
      const asked = rule === "public" || !("authorization" in headers) ? null : "red";
      expect(lines[0]).toMatchObject({ owner: asked, from: expect.stringMatching(/^10\.1\./), protocol: "http" });
      expect(lines[0]?.outcome, `${method} ${url}`).not.toBe(reply.statusCode < 400 ? undefined : "ok");
      if (url.includes(":id")) expect(lines[0]).toMatchObject({ target: vmId });
    }
  }
});

test("what was done stands in the audit with the id of what was made; reading leaves no line", async () => {
  const headers = { ...bearer(text.submitter), "content-type": "application/json" };
  const made = await world.app.inject({ method: "POST", url: "/v1/vms", headers, payload: "{}" });
  const { id } = made.json();
  expect(auditOf(made.headers["x-request-id"])).toEqual([
    expect.objectContaining({
      ...{ action: "vm.submit", target: id, outcome: "ok", owner: "red", role: "submitter", via: "token" },
      tokenId: text.submitter.slice(7, 15),
    }),
  ]);
  const removed = await ask("DELETE", `/v1/vms/${id}`, bearer(text.submitter));
  expect(auditOf(removed.headers["x-request-id"])).toEqual([
    expect.objectContaining({ action: "vm.remove", target: id, outcome: "ok" }),
  ]);
  const read = await ask("GET", `/v1/vms/${id}`, bearer(text.submitter));
  expect(auditOf(read.headers["x-request-id"])).toEqual([]);
  const refused = await ask("GET", "/v1/hosts", bearer(text.viewer));
  expect(auditOf(refused.headers["x-request-id"])).toEqual([
    expect.objectContaining({ action: "access", outcome: "forbidden", owner: "red" }),
  ]);
});

test("no token and no part of its secret stands in the log or in Redis", async () => {
  const kept = JSON.stringify(await world.redis.hgetall(world.keys.tokens));
  for (const token of Object.values(text)) {
    const secret = token.slice(16);
    expect(log.join("")).not.toContain(secret);
    expect(kept).not.toContain(secret);
  }
  expect(log.length).toBeGreaterThan(100);
});
