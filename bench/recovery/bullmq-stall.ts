import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Queue, Worker } from "bullmq";

const CHILD = fileURLToPath(new URL("../bullmq-worker.ts", import.meta.url));

/** The peer: how BullMQ itself notices a dead worker, with all its settings as they come. */
export interface StallPeer {
  /** Kills the worker in the middle of its job; gives how long until another one has it. */
  killAndMeasure(): Promise<number>;
}

/** A job in the hands of a worker process, and a second worker that waits for what stalls. */
export async function openStallPeer(url: string, name: string): Promise<StallPeer> {
  const connection = { url };
  const queue = new Queue(name, { connection });
  await queue.add("job", {});
  const child: ChildProcess = spawn(process.execPath, ["--import", "tsx", CHILD, url, name], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (child.stdout === null) throw new Error("no output of the peer");
  await once(child.stdout, "data"); // it has the job
  let rescued: (atMs: number) => void = () => undefined;
  const atRescue = new Promise<number>((resolve) => {
    rescued = resolve;
  });
  const second = new Worker(name, async () => rescued(performance.now()), { connection });
  return {
    async killAndMeasure() {
      const killedMs = performance.now();
      child.kill("SIGKILL");
      const tookMs = (await atRescue) - killedMs;
      await second.close(true);
      await queue.close();
      return tookMs;
    },
  };
}
