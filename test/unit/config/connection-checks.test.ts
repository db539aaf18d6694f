import { describe, expect, test } from "vitest";
import { DroverError } from "../../../src/contract/errors.ts";
import { guestsReachRedis } from "../../../src/runtime/config/connection-checks.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";
import { parseRedisUrl } from "../../../src/runtime/redis-url.ts";

/** The variables at fault. */
function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env, { isRoot: true });
    return [];
  } catch (error) {
    if (!(error instanceof DroverError)) throw error;
    return error.problems.map(({ field }) => field);
  }
}

const warnedOf = (env: Record<string, string>) => loadConfig(env, { isRoot: true }).warnings.map(({ field }) => field);

const PEM = "-----BEGIN CERTIFICATE-----";

describe("a Redis beyond this machine", () => {
  test.each([
    "redis://redis:6379",
    "redis://10.0.0.5",
    "redis://only-a-user@redis:6379",
    "rediss://redis:6380",
    "redis+sentinel://127.0.0.1:26379,10.0.0.5:26379/mymaster",
    "rediss+cluster://a:1,b:2",
    "redis://[2001:db8::1]:6379",
  ])("%s is refused, and both ways out are named", (url) => {
    expect(faultsOf({ DROVER_REDIS_URL: url })).toEqual(["DROVER_REDIS_URL"]);
    const refusal = expect(() => loadConfig({ DROVER_REDIS_URL: url }, { isRoot: true }));
    refusal.toThrow(/redis:\/\/user:password@host:port.*DROVER_REDIS_INSECURE=true/s);
    expect(faultsOf({ DROVER_REDIS_URL: url, DROVER_REDIS_INSECURE: "true" })).toEqual([]);
  });

  test.each([
    "redis://:secret@redis:6379",
    "rediss://drover:se%40cret@redis:6380/2",
    "redis+sentinel://drover:secret@a:1,b:2/mymaster",
    "redis://127.0.0.1:6379",
    "redis://localhost",
    "redis://[::1]:6379",
    "redis+cluster://127.0.0.1:1,127.0.0.1:2",
  ])("%s is taken", (url) => {
    expect(faultsOf({ DROVER_REDIS_URL: url })).toEqual([]);
  });

  test("a client certificate stands for a password, over TLS only", () => {
    const own = { DROVER_REDIS_CLIENT_CERT: PEM, DROVER_REDIS_CLIENT_KEY: PEM };
    expect(faultsOf({ DROVER_REDIS_URL: "rediss://redis:6380", ...own })).toEqual([]);
    expect(faultsOf({ DROVER_REDIS_URL: "redis://redis:6380", ...own })).toEqual(["DROVER_REDIS_URL"]);
  });

  test("the password stays out of the refusal's text and of the warning that it travels as plain text", () => {
    const { warnings } = loadConfig({ DROVER_REDIS_URL: "redis://:hunter2@redis:6379" }, { isRoot: true });
    expect(warnings.map(({ field }) => field)).toEqual(["DROVER_REDIS_URL"]);
    expect(JSON.stringify(warnings)).not.toContain("hunter2");
    expect(warnedOf({ DROVER_REDIS_URL: "rediss://:hunter2@redis:6379" })).toEqual([]);
  });
});

test("what is set for TLS and has no effect is said", () => {
  expect(warnedOf({ DROVER_REDIS_CA_CERTS: "/ca.pem" })).toEqual(["DROVER_REDIS_CA_CERTS"]);
  expect(warnedOf({ MANAGER_GRPC_SERVER_CA_CERTS: "/ca.pem" })).toEqual(["MANAGER_GRPC_SERVER_CA_CERTS"]);
});

test("certificate and key go together, and a clients' CA needs both", () => {
  expect(faultsOf({ MANAGER_HTTP_SERVER_CERT: PEM })).toEqual(["MANAGER_HTTP_SERVER_KEY"]);
  expect(faultsOf({ MANAGER_GRPC_SERVER_KEY: PEM })).toEqual(["MANAGER_GRPC_SERVER_CERT"]);
  expect(faultsOf({ MANAGER_GRPC_CLIENT_CA_CERTS: PEM })).toEqual(["MANAGER_GRPC_CLIENT_CA_CERTS"]);
  expect(faultsOf({ DROVER_REDIS_CLIENT_KEY: PEM })).toEqual(["DROVER_REDIS_CLIENT_CERT"]);
});

test("a Redis URL is taken apart, its user and password decoded", () => {
  expect(parseRedisUrl("rediss://dro%40ver:p%3Aw@r:1/3")).toEqual({
    kind: "server",
    tls: true,
    nodes: [{ host: "r", port: 1 }],
    username: "dro@ver",
    password: "p:w",
    path: "3",
  });
  expect(parseRedisUrl("rediss+sentinel://:p@[::1]:7,b/main")).toMatchObject({
    kind: "sentinel",
    tls: true,
    nodes: [
      { host: "::1", port: 7 },
      { host: "b", port: 26_379 },
    ],
    path: "main",
  });
  for (const wrong of ["redis://a,b", "redis://", "http://a", "redis://u:%zz@h", "redis://a:b:c"]) {
    expect(parseRedisUrl(wrong), wrong).toBeUndefined();
  }
});

test.each([
  "redis://u:CANARY/x@h",
  "redis://u:p@ss/CANARY@h:1",
  "redis://:CANARY?x@h",
  "redis://u:a#CANARY@h",
  "redis:/u:CANARY@h",
  "redis://h:1,u:CANARY@h2:x",
])("a URL whose password is not percent-encoded is refused, and the refusal shows nothing of it: %s", (url) => {
  let text = "";
  try {
    loadConfig({ HOME: "/tmp", DROVER_REDIS_URL: url });
  } catch (error) {
    text = String(error);
  }
  expect(text).toContain("DROVER_REDIS_URL");
  expect(text).not.toContain("CANARY");
});

test.each([
  ["redis://127.0.0.1:6379", true],
  ["redis://localhost", true],
  ["redis://:secret@127.0.0.1:6379", false],
  ["redis://10.1.2.3:6379", false],
])("guests of this host reach %s without a password: %s", (url, isReached) => {
  expect(guestsReachRedis(url) !== undefined).toBe(isReached);
});
