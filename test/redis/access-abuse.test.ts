import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import type { Role } from "../../src/contract/role.ts";
import { TokenStore } from "../../src/queue/token-store.ts";
import { acceptInput } from "../helpers/queue-world.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const AuditLine = z.object({ owner: z.string().nullable(), action: z.string(), outcome: z.string() });

const log: string[] = [];
let world: HttpWorld;
let tokens: TokenStore;

beforeAll(async () => {
  world = await openHttpWorld({
    log,
    limits: { recheckCallerMs: 50 },
    env: { DROVER_RATE_LIMIT: "600" },
    listen: true,
  });
  tokens = new TokenStore({ redis: world.redis, keys: world.keys });
});
afterAll(() => world[Symbol.asyncDispose]());

const add = (role: Role, expiresAtMs?: number) =>
  tokens.add({ owner: "red", role, label: "", createdBy: "test", expiresAtMs });
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** Sends a request, hangs up as soon as it was seen, and gives the one line of the audit that names `what`. */
async function lineAfterHangUp(request: string, what: string) {
  const from = log.length;
  const seen = once(world.app.server, "request");
  const socket = connect(Number(new URL(world.url).port), "127.0.0.1", () => socket.write(request));
  await seen;
  socket.destroy();
  const lines = () => log.slice(from).filter((line) => line.includes('"audit":true') && line.includes(what));
  const [line = ""] = await waitFor(() => (lines().length > 0 ? lines() : undefined), { what: `the line of ${what}` });
  expect(lines()).toHaveLength(1);
  return AuditLine.parse(JSON.parse(line));
}

test("who hangs up leaves the line of what came of it, and never an ok for what was not done", async () => {
  const { text } = await add("submitter");
  const common = `Host: 127.0.0.1\r\nAuthorization: Bearer ${text}\r\n`;
  const body = `Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"name":`;
  expect(await lineAfterHangUp(`POST /v1/vms HTTP/1.1\r\n${common}${body}`, "vm.submit")).toMatchObject({
    outcome: "malformed_body",
    owner: "red",
  });
  const unknown = acceptInput().vmId;
  expect(await lineAfterHangUp(`DELETE /v1/vms/${unknown} HTTP/1.1\r\n${common}\r\n`, unknown)).toMatchObject({
    outcome: "vm_not_found",
    owner: "red",
  });
  const input = acceptInput({}, { owner: "red" });
  await world.deps.store.accept(input);
  expect(await lineAfterHangUp(`DELETE /v1/vms/${input.vmId} HTTP/1.1\r\n${common}\r\n`, input.vmId)).toMatchObject({
    outcome: "ok",
    action: "vm.remove",
  });
});

test("a stream whose token is over ends also while its address shows what does not fit", async () => {
  const { text } = await add("viewer", Date.now() + 700);
  const { status, body } = await fetch(`${world.url}/v1/events`, { headers: bearer(text) });
  expect(status).toBe(200);
  for (let i = 0; i < 25; i++) await fetch(`${world.url}/v1/vms`, { headers: bearer("no") });
  expect((await fetch(`${world.url}/v1/vms`, { headers: bearer("no") })).status).toBe(429);
  const over = (async () => {
    for await (const _piece of body ?? []);
    return "over";
  })().catch(() => "over");
  expect(await Promise.race([over, new Promise((resolve) => setTimeout(resolve, 5_000, "open"))])).toBe("over");
});
