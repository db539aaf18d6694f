import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EmbeddedRedis } from "../../src/runtime/embedded-redis.ts";
import { identifyProcess } from "../../src/runtime/lasting-identity.ts";
import { createLogger } from "../../src/runtime/logger.ts";

/** A process that owns an embedded Redis and waits to be killed. */
const stateDir = process.argv[2] ?? "";
const logger = createLogger({ level: "error", name: "driver" });
const redis = await EmbeddedRedis.start({ stateDir, logger, ownerPid: process.pid });
const note = join(stateDir, "note");
await writeFile(`${note}.new`, JSON.stringify({ url: redis.url, server: identifyProcess(redis.pid) }));
await rename(`${note}.new`, note);
setInterval(() => undefined, 1000);
