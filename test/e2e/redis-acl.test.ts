import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { pino } from "pino";
import { expect, test } from "vitest";
import { openRedis } from "../../src/queue/connection.ts";
import { HostRegistry } from "../../src/queue/host-registry.ts";
import { checkRedisPolicy } from "../../src/queue/redis-policy.ts";
import type { Check } from "../../src/worker/doctor/check.ts";
import { openCertificates } from "../helpers/certificates.ts";
import { openCocosClient } from "../helpers/cocos-client.ts";
import { type Drover, startDrover } from "../helpers/drover.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { freePort, startRedis } from "../helpers/redis-server.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { runCli } from "../unit/cli/run-cli.ts";

const PASSWORD = "a-p@ssw0rd";

/** The rules of the documented user, for the key prefix of a test. */
function documentedRules(prefix: string): readonly string[] {
  const [, , line = ""] = /```text\nACL SETUSER (\w+) ([\s\S]*?)```/.exec(readFileSync("docs/redis.md", "utf8")) ?? [];
  return line.replace(">PASSWORD", `>${PASSWORD}`).replace("~{drover}*", `~${prefix}*`).trim().split(/\s+/);
}

/** Logs in and out as a browser does. */
async function useBrowser({ api, call }: Drover, token: string): Promise<void> {
  const send = (path: string, fields: Record<string, string>, cookie = "") =>
    call(path, {
      method: "POST",
      redirect: "manual",
      headers: { origin: api.url, cookie },
      body: new URLSearchParams(fields),
    });
  const login = await send("/login", { token });
  const [cookie = ""] = login.headers.getSetCookie()[0]?.split(";") ?? [];
  const page = await (await call("/", { headers: { cookie, accept: "text/html" } })).text();
  const [, formToken = ""] = /name="formToken" value="([^"]+)"/.exec(page) ?? [];
  expect((await send("/logout", { formToken }, cookie)).status).toBe(303);
  expect((await call("/", { headers: { cookie } })).status).toBe(401);
}

interface Refusal {
  readonly reason: string;
  readonly object: string;
  readonly context: string;
}

/** What Redis has refused, by its own log. */
async function refusals(admin: Redis): Promise<readonly Refusal[]> {
  const entries = (await admin.call("ACL", "LOG")) as readonly (readonly string[])[];
  return entries.map((entry) => {
    const of = (name: string) => String(entry[entry.indexOf(name) + 1]);
    return { reason: of("reason"), object: of("object"), context: of("context") };
  });
}

test("the documented user of Redis may do all that drover does, over TLS with certificates, and nothing is refused", async () => {
  await using pki = openCertificates();
  const ca = await pki.authority("/CN=ca");
  const [server, own] = [await ca.issue({ subject: "/CN=redis" }), await ca.issue({ subject: "/CN=drover" })];
  const tlsPort = await freePort();
  const files = [
    "--tls-cert-file",
    server.certFile,
    "--tls-key-file",
    server.keyFile,
    "--tls-ca-cert-file",
    ca.certFile,
  ];
  await using redis = await startRedis({ local: true, args: ["--tls-port", String(tlsPort), ...files] });
  const admin = new Redis(redis.url);
  const prefix = "{acl}";
  await admin.call("ACL", "SETUSER", "drover", ...documentedRules(prefix));
  const url = `rediss://drover:${encodeURIComponent(PASSWORD)}@127.0.0.1:${tlsPort}`;
  try {
    await using drover = await startDrover({
      redis: { ...redis, url, stop: async () => undefined },
      rom: "idle",
      env: {
        DROVER_REDIS_PREFIX: prefix,
        DROVER_REDIS_CA_CERTS: ca.certFile,
        DROVER_REDIS_CLIENT_CERT: own.certFile,
        DROVER_REDIS_CLIENT_KEY: own.keyFile,
        DROVER_SECRETS_KEY: `k1:${Buffer.alloc(32, 3).toString("base64")}`,
        DROVER_ATTEMPTS: "1",
        DROVER_KEEP_COMPLETED: "0s",
        MANAGER_MAX_VMS: "2",
      },
    });
    // A VM with secrets and an idempotency key, read by every way, taken over by the next worker, removed.
    const vmId = await drover.submit({ name: "one", awsSecretAccessKey: "canary" }, { "idempotency-key": "k" });
    await drover.until(vmId, "running");
    const ways = ["/health", "/v1/vms?state=running", "/v1/hosts", `/v1/vms/${vmId}/console`, "/openapi.json"];
    const board = [
      "/board/api/queues?activeQueue=vm.default&status=active&page=1",
      `/board/api/queues/vm.default/${vmId}`,
    ];
    for (const path of [...ways, ...board]) expect((await drover.call(path)).status, path).toBe(200);
    const stream = await drover.call("/v1/events", { headers: { accept: "text/event-stream", "last-event-id": "0" } });
    expect(stream.status).toBe(200);
    await stream.body?.cancel();
    await drover.worker?.stop("keep");
    await drover.runWorker();
    await drover.untilEvent(vmId, "vm.adopted");
    await drover.remove(vmId);
    await drover.untilEvent(vmId, "vm.removed");

    // One that ends by itself and is deleted, one that fails and is retried by hand, one that is removed while it waits.
    await drover.chooseGuest("poweroff");
    const short = await drover.submit();
    await drover.untilEvent(short, "vm.completed");
    await waitFor(async () => (await drover.call(`/v1/vms/${short}`)).status === 410, {
      what: "the record's deletion",
    });
    const failing = await drover.submit({ bootTimeout: "1ms", probe: { type: "tcp" } });
    await drover.until(failing, "failed");
    expect((await drover.retry(failing)).status).toBe(202);
    await drover.untilEvent(failing, "vm.failed", 2);
    const waiting = await drover.submit({ pool: "nobody" });
    await drover.remove(waiting);
    await drover.untilEvent(waiting, "vm.removed");
    await expectAgreement({ ...drover, client: admin });
    const token = await runCli(["token", "add", "--owner", "o", "--role", "operator", "--json"], { env: drover.env });
    expect(token.exitCode, token.err).toBe(0);
    const headers = { authorization: `Bearer ${(JSON.parse(token.out) as { token: string }).token}` };
    expect((await drover.call("/v1/vms", { headers })).status).toBe(200);
    expect((await runCli(["token", "ls"], { env: drover.env })).exitCode).toBe(0);

    // As a Cocos client, in a browser, and while the key is changed.
    await drover.chooseGuest("idle");
    using cocos = openCocosClient(drover.api.grpcUrl.replace("http://", ""));
    const made = await cocos.call("CreateVm", { agentCertsToken: "canary" }, { metadata: headers, deadlineMs: 60_000 });
    expect(made).toMatchObject({ status: "OK" });
    const { cvmId } = made.message;
    expect(await cocos.call("RemoveVm", { cvmId }, { metadata: headers })).toMatchObject({ status: "OK" });
    await useBrowser(drover, headers.authorization.slice("Bearer ".length));
    const parked = await drover.submit({ pool: "nobody", awsSecretAccessKey: "canary" }, headers);
    const newKeys = `k2:${Buffer.alloc(32, 4).toString("base64")},${drover.env["DROVER_SECRETS_KEY"]}`;
    const reseal = await runCli(["key", "reseal", "--json"], { env: { ...drover.env, DROVER_SECRETS_KEY: newKeys } });
    expect([reseal.exitCode, reseal.out]).toEqual([0, expect.stringContaining('"resealed": 1')]);
    await drover.call(`/v1/vms/${parked}`, { method: "DELETE", headers });
    const gone = new HostRegistry({ redis: drover.client, keys: drover.keys });
    await gone.take(hostDescription({ hostId: "gone-host" }), 1);
    for (const wish of ["cordon", "drain", "resume"])
      expect((await drover.call(`/v1/hosts/gone-host/${wish}`, { method: "POST", headers })).status).toBe(200);
    const forget = async () => drover.call("/v1/hosts/gone-host", { method: "DELETE", headers });
    await waitFor(async () => (await forget()).status === 200, { what: "the host to be forgotten" });
    expect(
      (await runCli(["hosts", "forget", "nobody"], { env: { ...drover.env, DROVER_URL: drover.api.url } })).exitCode,
    ).toBe(2);
    expect(await refusals(admin)).toEqual([]);

    const { out } = await runCli(["doctor", "--json"], { env: drover.env });
    const { checks } = JSON.parse(out) as { checks: readonly Check[] };
    expect(checks.filter(({ area, status }) => area === "redis" && status === "problem")).toEqual([]);
    expect(await refusals(admin)).toEqual([{ reason: "command", object: "config|get", context: "toplevel" }]);
  } finally {
    admin.disconnect();
  }
});

test("a user without the right to INFO is told where the rights are listed", async () => {
  await using redis = await startRedis({ local: true });
  const admin = new Redis(redis.url);
  await admin.call("ACL", "SETUSER", "drover", ...documentedRules("{drover}"), "-info");
  const url = redis.url.replace("//", `//drover:${encodeURIComponent(PASSWORD)}@`);
  const client = openRedis({ url, role: "worker", name: "no-info", logger: pino({ level: "silent" }) });
  try {
    await expect(checkRedisPolicy(client)).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringContaining("docs/redis.md"),
    });
  } finally {
    client.disconnect();
    admin.disconnect();
  }
});

test("keys of others and commands of administrators are refused to that user", async () => {
  await using redis = await startRedis({ local: true });
  const admin = new Redis(redis.url);
  await admin.call("ACL", "SETUSER", "drover", ...documentedRules("{drover}"));
  const user = new Redis({ ...urlOf(redis.url), username: "drover", password: PASSWORD });
  try {
    expect(await user.set("{drover}:x", "1")).toBe("OK");
    for (const call of [
      ["GET", "other"],
      ["KEYS", "*"],
      ["FLUSHALL"],
      ["CONFIG", "GET", "requirepass"],
      ["ACL", "LIST"],
      ["SCRIPT", "FLUSH"],
      ["PUBLISH", "c", "m"],
      ["SHUTDOWN"],
      ["EVAL", "return redis.call('get', 'other')", "0"],
    ]) {
      const [command = "", ...args] = call;
      await expect(user.call(command, ...args), call.join(" ")).rejects.toThrow(
        /NOPERM|can't access at least one of the keys/,
      );
    }
  } finally {
    user.disconnect();
    admin.disconnect();
  }
});

function urlOf(url: string): { host: string; port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}
