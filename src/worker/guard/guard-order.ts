import { constants } from "node:fs";
import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "../../runtime/errno.ts";

/**
 * What the worker tells its guard, in `<state dir>/guard/deadline.json`: end the VMs at `deadlineUptimeMs` (see
 * `uptimeMs`) unless told otherwise by then; null: no guard is wanted, go.
 */
export interface GuardOrder {
  readonly bootId: string;
  readonly stateId: string;
  readonly deadlineUptimeMs: number | null;
}

/** Where guard and worker meet. */
export interface GuardFiles {
  readonly dir: string;
  readonly order: string;
  /** What the guard did, for people; bounded. */
  readonly log: string;
  /** What Node printed when the guard could not run; begun anew by each. */
  readonly output: string;
}

/** Every order is as long as this, so that one can be written over another without more room on the disk. */
const ORDER_BYTES = 256;
const READS_MAX = 5;

export function guardFiles(stateDir: string): GuardFiles {
  const dir = join(stateDir, "guard");
  return {
    dir,
    order: join(dir, "deadline.json"),
    log: join(dir, "guard.log"),
    output: join(dir, "guard.out"),
  };
}

/** Makes the directory, mode 0700. It may exist already; the state directory must: one that was deleted stays so. */
export async function makeGuardDirectory(stateDir: string): Promise<void> {
  await mkdir(guardFiles(stateDir).dir, { mode: 0o700 }).catch((error: unknown) => {
    if (errnoOf(error) !== "EEXIST") throw error;
  });
}

/**
 * Replaces the order. No fsync: it means nothing after a power failure, when neither the boot nor its VMs are there any
 * more, and all processes of this boot see what is not on the disk yet. On a full disk the old one is written over in
 * its place, because a full disk must not end VMs that run well. Throws the system's own errors.
 */
export async function writeOrder(stateDir: string, order: GuardOrder): Promise<void> {
  const path = guardFiles(stateDir).order;
  const text = JSON.stringify({ v: 1, ...order }).padEnd(ORDER_BYTES);
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, text, { mode: 0o600 });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    await overwrite(path, text).catch(() => {
      throw error;
    });
  }
}

async function overwrite(path: string, text: string): Promise<void> {
  const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW);
  try {
    await file.write(text, 0);
  } finally {
    await file.close();
  }
}

/**
 * The order that stands there now; undefined when there is none. It is read until it is the same twice, as a half
 * written number would be a number too. Throws for one that cannot be understood, and the system's own errors.
 */
export async function readOrder(stateDir: string): Promise<GuardOrder | undefined> {
  const path = guardFiles(stateDir).order;
  try {
    let before = await readFile(path, "utf8");
    for (let reads = 1; reads < READS_MAX; reads++) {
      const text = await readFile(path, "utf8");
      if (text === before) return parseOrder(text);
      before = text;
    }
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  throw new Error(`${path} does not stand still`);
}

/** By hand: a schema library would be most of what the guard holds in memory. */
function parseOrder(text: string): GuardOrder {
  const value: unknown = JSON.parse(text);
  if (typeof value === "object" && value !== null && "v" in value && value.v === 1) {
    const { bootId, stateId, deadlineUptimeMs: deadline } = value as Partial<GuardOrder>;
    const isDeadline = deadline === null || (typeof deadline === "number" && Number.isFinite(deadline));
    if (typeof bootId === "string" && typeof stateId === "string" && isDeadline)
      return { bootId, stateId, deadlineUptimeMs: deadline };
  }
  throw new Error("the guard's order is not one");
}
