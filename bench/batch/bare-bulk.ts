/** The floor of a batch: the same requests, read from a file, added in chunks. Prints the milliseconds. */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Queue } from "bullmq";

const CHUNK_JOBS = 1_000;

const [redisUrl = "", name = "", file = ""] = process.argv.slice(2);
const queue = new Queue(name, { connection: { url: redisUrl } });
await queue.waitUntilReady();
const begunMs = performance.now();
let jobs: { name: string; data: unknown }[] = [];
for await (const line of createInterface({ input: createReadStream(file) })) {
  jobs.push({ name: "vm", data: JSON.parse(line) });
  if (jobs.length < CHUNK_JOBS) continue;
  await queue.addBulk(jobs);
  jobs = [];
}
if (jobs.length > 0) await queue.addBulk(jobs);
process.stdout.write(`${performance.now() - begunMs}\n`);
await queue.close();
