import { pino } from "pino";
import { expect, test } from "vitest";
import { DroverError } from "../../../src/contract/errors.ts";
import type { Role } from "../../../src/contract/role.ts";
import { AccessControl, type AccessControlOptions } from "../../../src/producer/access/access-control.ts";
import type { Credentials } from "../../../src/producer/access/authenticator.ts";
import { redisUnavailable } from "../../../src/producer/redis-fault.ts";
import type { StoredToken } from "../../../src/queue/token-store.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";

const HERE = { protocol: "http", remote: "127.0.0.1" } as const satisfies Credentials;
const GRPC = { protocol: "grpc", remote: "127.0.0.1" } as const satisfies Credentials;
const FAR = { protocol: "http", remote: "192.0.2.9" } as const satisfies Credentials;

function stored(id: string, over: Partial<StoredToken> = {}): StoredToken {
  return {
    ...{ v: 1, id, owner: "red", role: "submitter", label: "", createdAtMs: 0, createdBy: "test" },
    ...over,
  };
}

/** Access control over tokens in memory and a clock that the test turns. A token's text is its id. */
function setUp(env: Record<string, string> = {}) {
  const known = new Map<string, StoredToken>();
  const sessions = new Map<string, { tokenId: string; owner: string; role: Role; expiresAtMs: number }>();
  const state = { nowMs: 1_000_000, away: false, asked: 0, uses: 0 };
  const run: AccessControlOptions["gate"]["run"] = (work) => {
    state.asked++;
    return state.away ? Promise.reject(redisUnavailable()) : work();
  };
  const access = new AccessControl({
    config: loadConfig({ HOME: "/tmp", ...env }).config,
    tokens: {
      any: async () => known.size > 0,
      verify: async (text) => known.get(text),
      find: async (id) => known.get(id),
      findSubject: async (subject) => [...known.values()].find((token) => token.subject === subject),
      noteUse: async () => void state.uses++,
    },
    sessions: { find: async (value) => sessions.get(value) },
    gate: { run },
    logger: pino({ level: "silent" }),
    nowMs: () => state.nowMs,
  });
  const code = async (credentials: Credentials) => {
    try {
      const { owner, role, via } = await access.identify(credentials);
      return `${owner}/${role}/${via}`;
    } catch (error) {
      if (error instanceof DroverError) return error.code;
      throw error;
    }
  };
  return { access, known, sessions, state, code };
}

const LOCAL = "local/operator/local";

test("on loopback and without any token everybody is the local operator, and nobody from elsewhere is", async () => {
  const { code } = setUp();
  expect(await code(HERE)).toBe(LOCAL);
  expect(await code(GRPC)).toBe(LOCAL);
  expect(await code({ ...HERE, remote: "::1" })).toBe(LOCAL);
  expect(await code({ ...HERE, remote: "::ffff:127.0.0.1" })).toBe(LOCAL);
  expect(await code(FAR)).toBe("unauthenticated");
  expect(await code({ ...HERE, proxied: true })).toBe("unauthenticated");
  expect(await setUp({ MANAGER_HTTP_HOST: "0.0.0.0" }).code(HERE), "a listener beyond loopback").toBe(
    "unauthenticated",
  );
  expect(await setUp({ DROVER_AUTH_REQUIRED: "true" }).code(HERE)).toBe("unauthenticated");
  const insecure = { MANAGER_HTTP_HOST: "0.0.0.0", DROVER_INSECURE: "true" };
  expect(await setUp(insecure).code(FAR)).toBe(LOCAL);
  expect(await setUp({ ...insecure, DROVER_AUTH_REQUIRED: "true" }).code(FAR)).toBe("unauthenticated");
});

test("a certificate that names nobody is not the local operator, and neither is one that has expired meanwhile", async () => {
  const pki = {
    MANAGER_HTTP_CLIENT_CA_CERTS: "ca.pem",
    MANAGER_HTTP_SERVER_CERT: "a.pem",
    MANAGER_HTTP_SERVER_KEY: "a.key",
  };
  expect(await setUp(pki).code(HERE)).toBe("unauthenticated");
  expect(await setUp({ ...pki, DROVER_INSECURE: "true" }).code(HERE)).toBe("unauthenticated");
  expect(await setUp(pki).code(GRPC), "the other listener asks nobody for one").toBe(LOCAL);
});

test("a clock that is set back keeps no removed token alive and no door open", async () => {
  const { code, known, state } = setUp();
  expect(await code(HERE)).toBe(LOCAL);
  known.set("t", stored("t"));
  state.nowMs -= 3_600_000;
  expect(await code(HERE)).toBe("unauthenticated");
  expect(await code({ ...FAR, bearer: "t" })).toBe("red/submitter/token");
  known.delete("t");
  state.nowMs -= 3_600_000;
  expect(await code({ ...FAR, bearer: "t" })).toBe("unauthenticated");
});

test("the first token closes the door within 5 s, and emptying Redis does not open it again", async () => {
  const { code, known, state } = setUp();
  expect(await code(HERE)).toBe(LOCAL);
  known.set("t", stored("t"));
  state.nowMs += 5_000;
  expect(await code(HERE)).toBe("unauthenticated");
  known.clear();
  state.nowMs += 3_600_000;
  expect(await code(HERE)).toBe("unauthenticated");
});

test("while Redis cannot be asked nobody gets in", async () => {
  const { code, known, state } = setUp();
  known.set("t", stored("t"));
  state.away = true;
  for (const shown of [{}, { bearer: "t" }, { session: "s" }, { certificateSubject: "CN=a" }])
    expect(await code({ ...HERE, ...shown }), JSON.stringify(shown)).toBe("redis_unavailable");
});

test("a token counts by what it is now: a removed one no longer than 5 s, an expired one not at all", async () => {
  const { code, known, state } = setUp();
  known.set("t", stored("t", { role: "viewer", expiresAtMs: state.nowMs + 3_000 }));
  known.set("u", stored("u", { owner: "blue", role: "operator" }));
  expect(await code({ ...FAR, bearer: "t" })).toBe("red/viewer/token");
  expect(await code({ ...FAR, bearer: "u" })).toBe("blue/operator/token");
  known.delete("u");
  state.nowMs += 3_000;
  expect(await code({ ...FAR, bearer: "t" })).toBe("unauthenticated");
  state.nowMs += 2_000;
  expect(await code({ ...FAR, bearer: "u" })).toBe("unauthenticated");
  known.set("v", stored("v"));
  expect(await code({ ...FAR, bearer: "v" }), "a new one counts at once").toBe("red/submitter/token");
});

test("a night of submits asks Redis about its token every 5 s, and notes its use once a minute", async () => {
  const { code, known, state } = setUp({ DROVER_RATE_LIMIT: "0" });
  known.set("t", stored("t"));
  for (let at = 0; at < 10_000; at++) expect(await code({ ...FAR, bearer: "t" })).toBe("red/submitter/token");
  expect([state.asked, state.uses]).toEqual([2, 1]);
  state.nowMs += 60_000;
  await code({ ...FAR, bearer: "t" });
  expect([state.asked, state.uses]).toEqual([4, 2]);
});

test("what is shown and does not fit is refused also where nothing had to be shown; a stale cookie counts as nothing", async () => {
  const { code } = setUp();
  expect(await code({ ...HERE, bearer: "wrong" })).toBe("unauthenticated");
  expect(await code({ ...HERE, bearer: "" })).toBe("unauthenticated");
  expect(await code({ ...HERE, session: "old" })).toBe(LOCAL);
  expect(await code({ ...FAR, session: "old" })).toBe("unauthenticated");
});

test("a session has the token's role of now and ends with it", async () => {
  const { code, known, sessions, state } = setUp();
  sessions.set("s", { tokenId: "t", owner: "red", role: "operator", expiresAtMs: state.nowMs + 1_000 });
  known.set("t", stored("t", { role: "viewer" }));
  expect(await code({ ...FAR, session: "s" })).toBe("red/viewer/session");
  known.delete("t");
  state.nowMs += 5_000;
  expect(await code({ ...FAR, session: "s" })).toBe("unauthenticated");
});

test("a certificate's subject is an owner that submits, or what an operator made of it", async () => {
  const { code, known, state } = setUp();
  const subject = "CN=dé v:{x},O=lab";
  expect(await code({ ...FAR, certificateSubject: subject })).toBe(
    "CN=d%C3%A9%20v%3A%7Bx%7D,O=lab/submitter/certificate",
  );
  known.set("c1", stored("c1", { owner: "ops", role: "operator", subject }));
  state.nowMs += 5_000;
  expect(await code({ ...FAR, certificateSubject: subject })).toBe("ops/operator/certificate");
  expect(await code({ ...FAR, certificateSubject: `CN=${"x".repeat(300)}` })).toBe("unauthenticated");
  known.set("c1", stored("c1", { owner: "ops", role: "operator", subject, expiresAtMs: state.nowMs }));
  state.nowMs += 5_000;
  expect(await code({ ...FAR, certificateSubject: subject })).toBe("unauthenticated");
});

test("gRPC callers that show nothing are told the ways out, or are let in as submitters of their own", async () => {
  const { access, known } = setUp();
  known.set("t", stored("t"));
  await expect(access.identify(GRPC)).rejects.toThrow(
    /client certificate.*authorization: Bearer.*DROVER_GRPC_ANONYMOUS/s,
  );
  await expect(access.identify(HERE)).rejects.toThrow(/drover token add.*DROVER_TOKEN/s);
  const open = setUp({ DROVER_GRPC_ANONYMOUS: "submitter" });
  open.known.set("t", stored("t"));
  expect(await open.code(GRPC)).toBe("anonymous/submitter/anonymous");
  expect(await open.code(HERE), "for gRPC only").toBe("unauthenticated");
  expect(await open.code({ ...GRPC, bearer: "wrong" })).toBe("unauthenticated");
});

test("who tries too many tokens gets 429 for a while, and a good token passes all the same", async () => {
  const { code, known, state } = setUp();
  known.set("t", stored("t"));
  for (let at = 0; at < 20; at++) expect(await code({ ...FAR, bearer: `wrong-${at}` })).toBe("unauthenticated");
  expect(await code({ ...FAR, bearer: "wrong" })).toBe("too_many_requests");
  expect(await code({ ...FAR, remote: "192.0.2.10", bearer: "wrong" })).toBe("unauthenticated");
  expect(await code({ ...FAR, bearer: "t" })).toBe("red/submitter/token");
  state.nowMs += 3_000;
  expect(await code({ ...FAR, bearer: "wrong" })).toBe("unauthenticated");
});

test("a caller has its requests a minute, over HTTP and gRPC together; the local operator has no limit", async () => {
  const { access, code, known, state } = setUp({ DROVER_RATE_LIMIT: "6" });
  for (let at = 0; at < 20; at++) expect(await code(HERE)).toBe(LOCAL);
  known.set("t", stored("t"));
  known.set("u", stored("u", { owner: "blue" }));
  const principal = await access.identify({ ...FAR, bearer: "t" });
  expect(access.allowance(principal, FAR)).toEqual({ limit: 6, remaining: 5, resetS: 0 });
  for (let at = 0; at < 5; at++) expect(await code({ ...GRPC, bearer: "t" })).toBe("red/submitter/token");
  expect(await code({ ...FAR, bearer: "t" })).toBe("too_many_requests");
  expect(access.allowance(principal, FAR)).toEqual({ limit: 6, remaining: 0, resetS: 10 });
  expect(await code({ ...FAR, bearer: "u" })).toBe("blue/submitter/token");
  state.nowMs += 10_000;
  expect(await code({ ...FAR, bearer: "t" })).toBe("red/submitter/token");
  expect(await code({ ...FAR, bearer: "t" })).toBe("too_many_requests");
});
