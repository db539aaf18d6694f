/** The API in a process of its own, so that its end is seen and its memory measured. Told what to do by its parent. */
import { Writable } from "node:stream";
import { pino } from "pino";
import { startApi } from "../../src/producer/start-api.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";

/** What the parent hears: once where the API listens, then its memory whenever it asks. */
export type TargetReport =
  | { readonly kind: "ready"; readonly url: string; readonly grpcUrl: string }
  | {
      readonly kind: "state";
      readonly rssBytes: number;
      readonly heapBytes: number;
      readonly failures: readonly string[];
    };

const FAILURES_KEPT = 5;
const SHOWN_CHARS = 700;

const failures: string[] = [];
const collect = new Writable({
  write(line: Buffer, _encoding, done) {
    const text = line.toString("utf8");
    const isError = /^\{"level":[56]0,/.test(text); // lines of the audit come at every level
    if (isError && failures.length < FAILURES_KEPT) failures.push(text.slice(0, SHOWN_CHARS));
    done();
  },
});
const logger = pino({ level: "error" }, collect);
const { config } = loadConfig(process.env);
const api = await startApi({ config, logger });

const tell = (report: TargetReport) => process.send?.(report);
process.on("message", (message) => {
  if (message === "stop") void api.close().then(() => process.disconnect());
  else void tellState();
});
tell({ kind: "ready", url: api.url, grpcUrl: api.grpcUrl });

async function tellState(): Promise<void> {
  globalThis.gc?.();
  await new Promise((resolve) => setImmediate(resolve));
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  tell({ kind: "state", rssBytes: rss, heapBytes: heapUsed, failures: [...failures] });
}
