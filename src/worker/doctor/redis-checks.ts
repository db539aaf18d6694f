import type { RedisHealth, RedisServerFacts } from "../../queue/redis-health.ts";
import type { Check } from "./check.ts";

/** The scripts need what came with 7.0 (see `checkRedisPolicy`). */
const OLDEST_MAJOR = 7;
const SLOW_MS = 20;
const CLOCK_OFF_MS = 2_000;
const FULL_SHARE = 0.9;

/** Pure: what a Redis says of itself, judged. Several servers (a cluster) are judged each. */
export function redisChecks(
  { servers, roundTripMs, clockAheadMs }: RedisHealth,
  { prefix }: { prefix: string },
): readonly Check[] {
  const trip = `${roundTripMs < 10 ? roundTripMs.toFixed(1) : Math.round(roundTripMs)} ms`;
  const ahead = `${(Math.abs(clockAheadMs) / 1_000).toFixed(1)} s ${clockAheadMs < 0 ? "behind" : "ahead of"}`;
  return [
    ...servers.flatMap((server) => serverChecks(server, prefix)),
    roundTripMs > SLOW_MS
      ? warning(
          "redis_latency",
          `a round trip takes ${trip}`,
          "Bring API and workers nearer to Redis: a launch takes some ten round trips.",
        )
      : ok("redis_latency", `a round trip takes ${trip}`),
    Math.abs(clockAheadMs) > CLOCK_OFF_MS
      ? warning(
          "clock",
          `this machine's clock is ${ahead} Redis's`,
          "Run NTP (systemd-timesyncd, chrony) on both: delays and shown times are off.",
        )
      : ok("clock", "this machine's clock agrees with Redis's"),
  ];
}

function serverChecks(server: RedisServerFacts, prefix: string): readonly Check[] {
  return [versionCheck(server), policyCheck(server), ...persistenceChecks(server), ...placeChecks(server, prefix)];
}

function versionCheck({ version }: RedisServerFacts): Check {
  return Number.parseInt(version, 10) < OLDEST_MAJOR
    ? problem("redis_version", `Redis is of version ${version}`, `drover needs ${OLDEST_MAJOR}.0 or newer.`)
    : ok("redis_version", `Redis ${version}${hasScriptHole(version) ? SCRIPT_HOLE : ""}`);
}

/** Only a hint: distributions mend it under the old number. */
const SCRIPT_HOLE = " (CVE-2025-49844 is open in this number; see whether its package has the fix)";

/** First patch of each line in which scripts cannot break out of Redis; lines before have none, later ones all. */
const SCRIPTS_MENDED: Readonly<Record<string, number>> = { "7.2": 11, "7.4": 6, "8.0": 4, "8.2": 2 };

function hasScriptHole(version: string): boolean {
  const [, line = "", patch = "0"] = /^(\d+\.\d+)\.?(\d*)/.exec(version) ?? [];
  const mended = SCRIPTS_MENDED[line];
  return mended === undefined ? Number.parseFloat(line) < 8.2 : Number(patch) < mended;
}

function policyCheck({ maxmemoryPolicy, usedBytes, maxBytes }: RedisServerFacts): Check {
  if (maxmemoryPolicy !== undefined && maxmemoryPolicy !== "noeviction") {
    const todo = "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf.";
    const text = `maxmemory-policy is ${maxmemoryPolicy}: Redis may drop VMs when memory is short`;
    return { ...problem("redis_policy", text, todo), fix: { kind: "set_noeviction" } };
  }
  if (maxBytes > 0 && usedBytes > maxBytes * FULL_SHARE) {
    const text = `Redis uses ${Math.round((usedBytes / maxBytes) * 100)} % of its maxmemory`;
    return warning("redis_policy", text, "Raise maxmemory, or shorten DROVER_KEEP_COMPLETED and DROVER_KEEP_FAILED.");
  }
  return ok("redis_policy", "Redis drops nothing when memory is short (noeviction)");
}

function persistenceChecks({ aof, appendfsync, aofWriteFailed, snapshotFailed }: RedisServerFacts): readonly Check[] {
  if (aofWriteFailed || snapshotFailed) {
    const what = aofWriteFailed ? "append-only file" : "snapshot";
    return [
      problem(
        "redis_persistence",
        `Redis cannot write its ${what}`,
        "Look into its log; mostly its disk is full. It may refuse all writes meanwhile.",
      ),
    ];
  }
  if (!aof) {
    const text = "Redis writes no append-only file: what came since its last snapshot is lost when it ends";
    return [warning("redis_persistence", text, "redis-cli CONFIG SET appendonly yes, and the same in redis.conf.")];
  }
  if (appendfsync === "no") {
    const text = "appendfsync is no: a power failure loses up to half a minute";
    return [warning("redis_persistence", text, "redis-cli CONFIG SET appendfsync everysec, or always.")];
  }
  const how = appendfsync === undefined ? "" : ` (appendfsync ${appendfsync})`;
  return [ok("redis_persistence", `Redis writes an append-only file${how}`)];
}

function placeChecks({ role, cluster }: RedisServerFacts, prefix: string): readonly Check[] {
  const checks: Check[] = [];
  if (role !== undefined && role !== "master") {
    const todo = "Name the master in DROVER_REDIS_URL, or take redis+sentinel://.";
    checks.push(problem("redis_role", `this Redis is a ${role} and takes no writes`, todo));
  }
  if (cluster && !/\{[^}]+\}/.test(prefix)) {
    const todo = "Put one part of DROVER_REDIS_PREFIX in braces, as in {drover}.";
    checks.push(problem("redis_prefix", `on a cluster the keys of prefix ${prefix} lie on several nodes`, todo));
  }
  return checks;
}

function ok(id: string, text: string): Check {
  return { id, area: "redis", status: "ok", text };
}

function warning(id: string, text: string, todo: string): Check {
  return { id, area: "redis", status: "warning", text, todo };
}

function problem(id: string, text: string, todo: string): Check {
  return { id, area: "redis", status: "problem", text, todo };
}
