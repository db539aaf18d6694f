import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { RedisClient } from "../../src/queue/connection.ts";

/** Words that occur nowhere else, one in each secret field of a request. */
const CANARIES = {
  agentCertsToken: "CanaryTokenQ7fWz2Lx",
  awsAccessKeyId: "CanaryAwsIdP3kVb9Nd",
  awsSecretAccessKey: "CanaryAwsSecretH5tRj8Ym",
  agentCvmClientKey: "CanaryPemKeyG4sXc6Tv",
  aaKbsParams: "CanaryKbsD2wBq1Zf",
} as const;

export const SECRET_FIELDS = {
  agentCertsToken: `token-${CANARIES.agentCertsToken}`,
  awsAccessKeyId: CANARIES.awsAccessKeyId,
  awsSecretAccessKey: `${CANARIES.awsSecretAccessKey}/+=`,
  agentCvmClientKey: `-----BEGIN PRIVATE KEY-----\n${CANARIES.agentCvmClientKey}\n-----END PRIVATE KEY-----\n`,
  aaKbsParams: `cc_kbc::http://kbs.example:8080/${CANARIES.aaKbsParams}`,
};

/** Every form in which a canary may be written down: as it is, in hex, and in base64 at each of its three alignments. */
const FORMS = Object.entries(CANARIES).map(([field, canary]) => ({
  field,
  forms: [canary, Buffer.from(canary).toString("hex"), ...[0, 1, 2].map((before) => base64Core(canary, before))],
}));

/** The characters of base64 that depend on nothing but the canary. */
function base64Core(canary: string, bytesBefore: number): string {
  const text = Buffer.from("\0".repeat(bytesBefore) + canary).toString("base64");
  const first = Math.ceil((bytesBefore * 8) / 6);
  return text.slice(first, Math.floor(((bytesBefore + canary.length) * 8) / 6));
}

/** The secret fields whose canary stands in a text, in any form. */
export function canariesIn(text: string): string[] {
  return FORMS.filter(({ forms }) => forms.some((form) => text.includes(form))).map(({ field }) => field);
}

/** All that Redis holds, as one text: names, values, and what stands in each kind of value. */
export async function allOfRedis(redis: RedisClient): Promise<string> {
  const names = await redis.keys("*");
  const values = await Promise.all(names.map((name) => contentOf(redis, name)));
  return names.map((name, index) => `${name}\n${values[index]}`).join("\n");
}

async function contentOf(redis: RedisClient, name: string): Promise<string> {
  switch (await redis.type(name)) {
    case "string":
      return (await redis.get(name)) ?? "";
    case "hash":
      return JSON.stringify(await redis.hgetall(name)).replaceAll("\\n", "\n");
    case "list":
      return (await redis.lrange(name, "0", "-1")).join("\n");
    case "set":
      return (await redis.smembers(name)).join("\n");
    case "zset":
      return (await redis.zrange(name, "0", "-1")).join("\n");
    case "stream":
      return JSON.stringify(await redis.xrange(name, "-", "+"));
    default:
      return "";
  }
}

/** Every file below a directory that may be read, with its mode. Sockets and what goes meanwhile are passed over. */
export function readAll(dir: string): { path: string; mode: number; text: string }[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return readAll(path);
    if (!entry.isFile()) return [];
    return [{ path, mode: statSync(path).mode & 0o777, text: readFileSync(path, "latin1") }];
  });
}

/** Directories below a directory, with their modes. */
export function directoryModes(dir: string): { path: string; mode: number }[] {
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => {
      const path = join(dir, name);
      return [{ path, mode: statSync(path).mode & 0o777 }, ...directoryModes(path)];
    });
}
