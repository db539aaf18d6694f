import { createServer, type Server } from "node:net";
import { BoundedFile } from "../../qemu/bounded-file.ts";
import { within } from "../../runtime/bounded-wait.ts";
import { errnoOf } from "../../runtime/errno.ts";
import { bootId } from "../../runtime/process-identity.ts";
import { GUARD_LOCKED_EXIT_CODE, guardSocket } from "./guard-identity.ts";
import { guardFiles } from "./guard-order.ts";
import { watchDeadline } from "./watch-deadline.ts";

/**
 * The guard: a small process of its own beside the worker, one per state directory, that ends this host's VMs when the
 * worker is dead or hangs, before others may launch them. Started by `GuardLink`:
 * `guard-main <version> <state directory> <state id>`.
 */
const LOG = { maxBytes: 64 * 1024, keepBytes: 32 * 1024 };
const LAST_WORDS_MS = 500;

const [, , version = "", stateDir = "", stateId = ""] = process.argv;
process.umask(0o077);

/** Lines follow each other; one that cannot be written (a full disk) is no reason to stop. */
let written: Promise<unknown> = Promise.resolve();
const file = new BoundedFile(guardFiles(stateDir).log, LOG);
let last = "";
let repeated = 0;
function log(line: string): void {
  if (line === last) {
    repeated += 1;
    return;
  }
  const again = repeated === 0 ? "" : `${new Date().toISOString()} ${process.pid} the same ${repeated} times more\n`;
  last = line;
  repeated = 0;
  const text = Buffer.from(`${again}${new Date().toISOString()} ${process.pid} ${line}\n`);
  written = written.then(() => file.append(text)).catch(() => undefined);
}

/** What nobody foresaw must not end the guard: then nobody would watch. */
process.on("uncaughtException", (error) => log(`unforeseen: ${error.message}`));

const lock = await takeLock();
if (lock === undefined) process.exit(GUARD_LOCKED_EXIT_CODE);
log(`guarding ${stateDir}, version ${version}`);
const reason = await watchDeadline({ stateDir, stateId, bootId: bootId(), log });
log(`leaving: ${reason}`);
await within(written, LAST_WORDS_MS);
process.exit(0);

/** The kernel gives this name to one process of the machine; whoever connects learns who that is. */
function takeLock(): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on("error", () => undefined); // a client that has gone
      socket.end(`${process.pid}\n`);
      socket.unref();
    });
    server.once("error", (error) => (errnoOf(error) === "EADDRINUSE" ? resolve(undefined) : reject(error)));
    server.listen(guardSocket(stateId), () => resolve(server));
  });
}
