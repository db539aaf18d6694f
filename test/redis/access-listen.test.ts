import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { expect, inject, test } from "vitest";
import { startApi } from "../../src/producer/start-api.ts";
import { TokenStore } from "../../src/queue/token-store.ts";
import { openRedisWorld } from "../helpers/redis-world.ts";
import { testConfig } from "./http-world.ts";

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));
const NOWHERE = "redis://127.0.0.1:1";

/** Starts an API and ends it; gives what it warned of. */
async function started(env: Record<string, string>, at: { url?: string; prefix: string }): Promise<string> {
  const lines: string[] = [];
  const logger = pino({ level: "warn" }, { write: (line: string) => void lines.push(line) });
  const config = testConfig({ url: at.url ?? inject("redisUrl"), prefix: at.prefix, env });
  const api = await startApi({ config, logger });
  await api.close();
  return lines.join("");
}

test.each(["MANAGER_HTTP", "MANAGER_GRPC"])(
  "%s beyond loopback is refused while nobody is asked who they are",
  async (prefix) => {
    await using world = openRedisWorld();
    const at = { prefix: world.keys.prefix };
    const open = { [`${prefix}_HOST`]: "0.0.0.0" };
    await expect(started(open, at)).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringMatching(
        new RegExp(`${prefix}_HOST=0.0.0.0.*drover token add.*${prefix}_CLIENT_CA_CERTS.*DROVER_INSECURE=true`, "s"),
      ),
    });
    expect(await started({ ...open, DROVER_INSECURE: "true" }, at)).toContain(
      "whoever reaches this address is the operator",
    );
    expect(await started({ ...open, DROVER_AUTH_REQUIRED: "true" }, at)).toContain("without TLS");
    const tls = { SERVER_CERT: "cert.pem", SERVER_KEY: "key.pem", CLIENT_CA_CERTS: "cert.pem" };
    const files = Object.entries(tls).map(([name, file]) => [`${prefix}_${name}`, fixture(file)] as const);
    expect(await started({ ...open, ...Object.fromEntries(files) }, at)).not.toContain("without TLS");
    expect(await started(open, { ...at, url: NOWHERE }), "nobody gets in before Redis has said it").toContain(
      "without TLS",
    );
    const tokens = new TokenStore({ redis: world.redis, keys: world.keys });
    await tokens.add({ owner: "ops", role: "operator", label: "", createdBy: "test", expiresAtMs: undefined });
    expect(await started(open, at)).toContain("reads tokens and secrets");
  },
);

test("what the gRPC listener says of strangers counts for it alone", async () => {
  await using world = openRedisWorld();
  const at = { prefix: world.keys.prefix };
  const known = { DROVER_GRPC_ANONYMOUS: "submitter", MANAGER_GRPC_HOST: "0.0.0.0" };
  expect(await started(known, at)).toContain("whoever reaches this address may submit VMs");
  await expect(started({ ...known, MANAGER_HTTP_HOST: "0.0.0.0" }, at)).rejects.toThrow(/^MANAGER_HTTP_HOST/);
});
