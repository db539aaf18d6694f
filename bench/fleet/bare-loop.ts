// The floor of dispatch, in a process of its own: `bare-loop.ts <Redis URL> <queue> <directory> <loops>`. Each loop fetches
// a job, writes two files and waits until they are on disk, spawns /bin/true and waits for its end, and completes the job.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "bullmq";
import { Redis } from "ioredis";

const EMPTY_PAUSE_MS = 20;

const [, , url = "", queue = "", dir = "", loops = "1"] = process.argv;
const connection = new Redis(url, { maxRetriesPerRequest: null });
const worker = new Worker(queue, null, { connection, autorun: false, skipStalledCheck: true });
await worker.waitUntilReady();
process.stdout.write("ready\n");
await Promise.all(Array.from({ length: Number(loops) }, loop));

async function loop(): Promise<never> {
  const token = randomUUID();
  for (;;) {
    const job = await worker.getNextJob(token, { block: false });
    if (job === undefined) {
      await delay(EMPTY_PAUSE_MS);
      continue;
    }
    const path = join(dir, String(job.id));
    await onDisk(path, JSON.stringify(job.data));
    await once(spawn("/bin/true", { stdio: "ignore" }), "exit");
    await onDisk(`${path}.end`, "{}");
    await rm(path);
    await rm(`${path}.end`);
    await job.moveToCompleted({}, token, false);
  }
}

async function onDisk(path: string, text: string): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
