import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { allOfRedis, canariesIn, readAll, SECRET_FIELDS } from "../helpers/canaries.ts";
import { openCocosClient } from "../helpers/cocos-client.ts";
import { type Drover, startDrover } from "../helpers/drover.ts";
import { startRedis } from "../helpers/redis-server.ts";
import { runCli } from "../unit/cli/run-cli.ts";

const KEY_BYTES = Buffer.alloc(32, 7).toString("base64");
/** The fields of a request as a Cocos client sends them. */
const { agentCvmClientKey: pem, ...texts } = SECRET_FIELDS;
const COCOS_FIELDS = { ...texts, agentCvmClientKey: Buffer.from(pem), agentCvmServerUrl: "10.0.2.2:7001" };

let redisDir = "";
let host: Drover;
/** An operator's and a submitter's; from the first one on everybody is asked. */
let operator = "";
let submitter = "";
/** What a submitter's browser was given at its login. */
let session = "";

const token = async (owner: string, role: string) => {
  const made = await runCli(["token", "add", "--owner", owner, "--role", role], { env: host.env });
  expect(made.exitCode, made.err).toBe(0);
  return made.out.trim();
};
const bearer = (text: string) => ({ authorization: `Bearer ${text}` });
const open = () => openCocosClient(new URL(host.api.grpcUrl).host);
/** The secret words of a request, of tokens, of the session, and of the sealing key. */
const found = (text: string) => [
  ...canariesIn(text),
  ...Object.entries({ operator, submitter, session, key: KEY_BYTES })
    .filter(([, secret]) => secret !== "" && text.includes(secret.slice(-24)))
    .map(([name]) => name),
];

/** The same token but for its last character. */
const wrong = (token: string) => `${token.slice(0, -1)}${token.endsWith("X") ? "Y" : "X"}`;

beforeAll(async () => {
  redisDir = mkdtempSync(join(tmpdir(), "drv-aof-"));
  const redis = await startRedis({ local: true, dir: redisDir, args: ["--appendonly", "yes"] });
  host = await startDrover({
    redis,
    rom: "obedient",
    env: { DROVER_SECRETS_KEY: `k1:${KEY_BYTES}`, MANAGER_LOG_LEVEL: "debug", DROVER_GRPC_CREATE_TIMEOUT: "15s" },
  });
  operator = await token("ada", "operator");
  submitter = await token("bob", "submitter");
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await host.redis.stop();
  rmSync(redisDir, { recursive: true, force: true });
});

test("the search finds what it looks for", () => {
  expect(found(JSON.stringify(SECRET_FIELDS) + operator + submitter + KEY_BYTES)).toHaveLength(8);
  expect(found(Buffer.from(pem).toString("base64"))).toEqual(["agentCvmClientKey"]);
});

test("a VM of gRPC leaves its secrets in no status, metadata, record, event, log line or page", async () => {
  using client = open();
  const answers = [
    await client.call("CreateVm", COCOS_FIELDS),
    await client.call("CreateVm", COCOS_FIELDS, { metadata: bearer(submitter) }),
    await client.call("CreateVm", { ...COCOS_FIELDS, agentCertsToken: `${texts.agentCertsToken}\nX=1` }, as(submitter)),
    await client.call("CreateVm", { ...COCOS_FIELDS, aaKbsParams: `${texts.aaKbsParams} init=/bin/sh` }, as(submitter)),
    await client.call("CreateVm", { ...COCOS_FIELDS, ttl: "5 minutes" }, as(submitter)),
    await client.call("CreateVm", COCOS_FIELDS, { metadata: { ...bearer(submitter), "drover-label": "not a label" } }),
    await client.call("CreateVm", COCOS_FIELDS, as(wrong(submitter))),
  ];
  expect(answers.map(({ status }) => status)).toEqual([
    "UNAUTHENTICATED",
    "OK",
    ...Array.from({ length: 4 }, () => "INVALID_ARGUMENT"),
    "UNAUTHENTICATED",
  ]);
  const cvmId = String(answers[1]?.message["cvmId"]);
  const more = [
    await client.call("AttestationPolicy", { id: cvmId }, as(submitter)),
    await client.call("CVMInfo", { id: cvmId }, as(submitter)),
  ];
  expect(more.map(({ status }) => status)).toEqual(["FAILED_PRECONDITION", "OK"]);
  expect(found(JSON.stringify([...answers, ...more].map(({ message, ...rest }) => ({ ...rest, m: message }))))).toEqual(
    [],
  );
  await expectNothing(cvmId);
  expect(await client.call("RemoveVm", { cvmId }, as(submitter))).toMatchObject({ status: "OK" });
  await expectNothing(cvmId);
});

test("logins leave neither token nor session anywhere, and no page shows a secret", async () => {
  const login = await form("/login", { token: submitter, next: "/" });
  expect(login.status).toBe(303);
  session = /=([^;]+)/.exec(login.headers.get("set-cookie") ?? "")?.[1] ?? "";
  expect(session.length).toBeGreaterThan(20);
  const refused = await form("/login", { token: wrong(submitter), next: "/" });
  expect(refused.status).toBe(401);
  expect(found(await refused.text())).toEqual([]);
  for (const path of ["/", "/login", "/docs", "/board", "/openapi.json"]) {
    const page = await host.call(path, { headers: { accept: "text/html", cookie: cookie(login) }, redirect: "manual" });
    expect(page.status, path).toBeLessThan(500);
    expect(found(await page.text()), path).toEqual([]);
  }
  await expectNothing();
});

test("refusals of HTTP tell nothing back: 400, 401, 403, 404, 500", async () => {
  const json = { "content-type": "application/json" };
  const body = (over: object) => JSON.stringify({ ...SECRET_FIELDS, ...over });
  const answers = [
    await host.call("/v1/vms", { method: "POST", headers: json, body: body({}) }),
    await host.call("/v1/vms", { method: "POST", headers: { ...json, ...bearer(`${submitter}x`) }, body: body({}) }),
    await post({ nonsense: 1 }),
    await post({ awsAccessKeyId: `${texts.awsAccessKeyId}\u0000` }),
    await host.call(`/v1/vms/${randomUUID()}`, { headers: bearer(submitter) }),
    await host.call("/v1/hosts/x", { method: "DELETE", headers: bearer(submitter) }),
    await damaged(),
  ];
  expect(answers.map(({ status }) => status)).toEqual([401, 401, 400, 400, 404, 403, 500]);
  for (const answer of answers) {
    const text = await answer.text();
    expect(found(text), text).toEqual([]);
  }
  await expectNothing();

  async function post(over: object) {
    return host.call("/v1/vms", { method: "POST", headers: { ...json, ...bearer(submitter) }, body: body(over) });
  }

  /** A record that cannot be read, as a defect of ours would leave it. */
  async function damaged() {
    const vmId = "0b6f5f1e-8f9c-4a59-9d3e-1c7f2f2b7c11";
    await host.client.hset(host.keys.record(vmId), { vmId, state: "no state" });
    const answer = await host.call(`/v1/vms/${vmId}`, { headers: bearer(operator) });
    await host.client.del(host.keys.record(vmId));
    return answer;
  }
});

test("every file of the state directory is its owner's only, while a VM runs", async () => {
  const submit = { method: "POST", headers: { "content-type": "application/json", ...bearer(submitter) } };
  const answer = await host.call("/v1/vms?", { ...submit, body: JSON.stringify(SECRET_FIELDS) });
  const { id } = (await answer.json()) as { id: string };
  await host.untilEvent(id, "vm.running");
  const open = execFileSync("find", [host.stateDir, "-perm", "/077", "!", "-type", "l"], { encoding: "utf8" });
  expect(open).toBe("");
  await host.call(`/v1/vms/${id}?force`, { method: "DELETE", headers: bearer(submitter) });
  await host.untilEvent(id, "vm.removed");
});

test("`drover config`, `explain`, `hostdata`, `key ls` and `token ls` show no secret, also with problems", async () => {
  const env = {
    ...host.env,
    DROVER_TOKEN: operator,
    DROVER_REDIS_URL: host.redis.url.replace("://", `://user:${texts.awsAccessKeyId}@`),
    DROVER_CLIENT_KEY: pem,
    MANAGER_GRPC_SERVER_KEY: pem,
    MANAGER_HTTP_SERVER_KEY: pem,
    MANAGER_CORIM_SIGNING_KEY: "/nowhere/key.pem",
  };
  const stdin = JSON.stringify(SECRET_FIELDS);
  const runs = [
    await runCli(["config"], { env }),
    await runCli(["config", "--json"], { env: { ...env, MANAGER_MAX_VMS: "many" } }),
    await runCli(["config"], { env: { ...env, DROVER_SECRETS_KEY: `${KEY_BYTES}:k1`, DROVER_TOKEN: `${operator} x` } }),
    await runCli(["explain"], { env }),
    await runCli(["hostdata", "-f", "-"], { env: host.env, stdin }),
    await runCli(["key", "ls", "--json"], { env: host.env }),
    await runCli(["token", "ls", "--json"], { env: host.env }),
  ];
  for (const { out, err } of runs) expect(found(out + err), out + err).toEqual([]);
  expect(runs.map(({ out, err }) => (out + err).length > 0)).not.toContain(false);
});

function as(text: string) {
  return { metadata: bearer(text) };
}

function cookie(answer: Response): string {
  return (answer.headers.get("set-cookie") ?? "").split(";", 1)[0] ?? "";
}

function form(path: string, fields: Record<string, string>): Promise<Response> {
  return host.call(path, {
    method: "POST",
    redirect: "manual",
    headers: {
      "content-type": "application/x-www-form-urlencoded",
      "sec-fetch-site": "same-origin",
      accept: "text/html",
    },
    body: new URLSearchParams(fields).toString(),
  });
}

/** Nothing in Redis, its files, the log with its audit lines, the state directory but the shares, and the API. */
async function expectNothing(vmId?: string): Promise<void> {
  expect(found(await allOfRedis(host.client)), "in Redis").toEqual([]);
  for (const { path, text } of readAll(redisDir)) expect(found(text), path).toEqual([]);
  const logs = host.logs();
  expect(logs, "changes are noted").toContain('"audit":true');
  expect(found(logs), "in a log line").toEqual([]);
  for (const { path, text } of readAll(host.stateDir))
    if (!/\/(env\/environment|certs\/key\.pem)$/.test(path)) expect(found(text), path).toEqual([]);
  const pages = ["/v1/vms", "/board/api/queues?activeQueue=vm.default&status=active&page=1&jobsPerPage=10"];
  for (const path of [...pages, ...(vmId === undefined ? [] : [`/v1/vms/${vmId}`, `/v1/vms/${vmId}/console`])]) {
    const answer = await host.call(path, { headers: bearer(operator) });
    expect(answer.status, path).toBe(200);
    expect(found(await answer.text()), path).toEqual([]);
  }
  if (vmId !== undefined) expect(found(JSON.stringify(await host.events(vmId)))).toEqual([]);
}
