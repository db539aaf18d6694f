/**
 * Taking and giving ports by many clients at once, checked against a ground truth outside Redis, against the floor of
 * as many EVALSHA calls of an empty script over the same connections.
 *
 *     npm run bench:ports -- [--operations 1000000]
 */
import { parseArgs } from "node:util";
import { pino } from "pino";
import { openRedis } from "../src/queue/connection.ts";
import { PortSlots } from "../src/queue/port-slots.ts";
import { redisKeys } from "../src/queue/redis-keys.ts";
import { portStorm } from "../test/helpers/port-storm.ts";
import { startRedis } from "../test/helpers/redis-server.ts";

const CONNECTIONS = 8;
const CLIENTS_PER_CONNECTION = 4;
const EMPTY_SCRIPT = "return { 1, 1 }";

const { values } = parseArgs({ options: { operations: { type: "string", default: "1000000" } } });
const operations = Number(values.operations);
await using server = await startRedis({ local: true });
const logger = pino({ level: "silent" });
const connections = Array.from({ length: CONNECTIONS }, () =>
  openRedis({ url: server.url, role: "worker", name: "bench", logger }),
);
const slots = connections.map(
  (redis) =>
    new PortSlots({
      redis,
      keys: redisKeys("{bench}"),
      bootId: "boot",
      range: { first: 6100, last: 6200, reserved: [] },
    }),
);

const begunMs = performance.now();
const result = await portStorm(
  slots.flatMap((ports) => Array(CLIENTS_PER_CONNECTION).fill(ports)),
  operations,
);
const perSecond = operations / ((performance.now() - begunMs) / 1_000);
const floorPerSecond = await floor();
for (const connection of connections) connection.disconnect();

process.stdout.write(
  [
    `${operations} operations by ${CONNECTIONS * CLIENTS_PER_CONNECTION} clients: ${result.takes} taken, ${result.gives} given back, ${result.refused} refused`,
    `promises broken: ${result.violations.length}`,
    `rate   ${perSecond.toFixed(0)} per second`,
    `floor  ${floorPerSecond.toFixed(0)} per second (an empty script)`,
    `ratio  ${(perSecond / floorPerSecond).toFixed(2)}`,
    "",
  ].join("\n"),
);
if (result.violations.length > 0) throw new Error(result.violations.slice(0, 10).join("\n"));

async function floor(): Promise<number> {
  const calls = Math.min(operations, 100_000);
  const atMs = performance.now();
  let left = calls;
  await Promise.all(
    connections.flatMap((redis) =>
      Array.from({ length: CLIENTS_PER_CONNECTION }, async () => {
        while (left-- > 0) await redis.eval(EMPTY_SCRIPT, 3, "{bench}:a", "{bench}:b", "{bench}:c", "{}");
      }),
    ),
  );
  return calls / ((performance.now() - atMs) / 1_000);
}
