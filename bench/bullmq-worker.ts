// A BullMQ worker as it comes, in a process of its own that bench/recovery.ts kills: `bullmq-worker.ts <Redis URL> <queue>`.
import { Worker } from "bullmq";

const [, , url = "", queue = ""] = process.argv;
new Worker(
  queue,
  () => {
    process.stdout.write("active\n");
    return new Promise(() => undefined); // its job never ends
  },
  { connection: { url } },
);
