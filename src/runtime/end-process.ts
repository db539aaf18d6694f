import { TIME_UP, waitUntil, within } from "./bounded-wait.ts";
import { isAlive, type ProcessIdentity, signalProcess } from "./process-identity.ts";

const DEATH_POLL_MS = 10;
/** SIGKILL needs milliseconds; only a process in uninterruptible sleep (state D) outlives this. */
const KILL_PROOF_MS = 5_000;

/**
 * Thrown when a process was killed and still is not dead: nothing that it holds may be given away.
 *
 * @public
 */
export class ProcessStillAlive extends Error {
  override readonly name = "ProcessStillAlive";
}

/**
 * True once the process is dead, false when `timeoutMs` is up first. `exited` (of our own child) only makes it quicker.
 * Rejects with the signal's reason.
 */
export async function waitForDeath(
  identity: ProcessIdentity,
  wait: { readonly timeoutMs: number; readonly signal?: AbortSignal; readonly exited?: Promise<unknown> },
): Promise<boolean> {
  const watched = new AbortController();
  const stop = () => watched.abort(wait.signal?.reason);
  wait.signal?.addEventListener("abort", stop, { once: true });
  const polled = waitUntil(() => !isAlive(identity), {
    timeoutMs: wait.timeoutMs,
    intervalMs: DEATH_POLL_MS,
    signal: watched.signal,
  });
  polled.catch(() => undefined); // when `exited` wins, its abort is nobody's news
  try {
    wait.signal?.throwIfAborted();
    return wait.exited === undefined ? await polled : await Promise.race([polled, wait.exited.then(() => true)]);
  } finally {
    wait.signal?.removeEventListener("abort", stop);
    watched.abort();
  }
}

/**
 * Ends exactly this process: SIGTERM, after `termMs` SIGKILL (at once when `termMs` is 0), and waits until it is dead.
 * Returns which signal did it. A reused pid is never signalled. An abort skips the wait for SIGTERM; the kill is made
 * in any case, so that no caller leaves a process behind by giving up.
 * Throws {@link ProcessStillAlive} after 5 s, and EPERM when the process is not ours to signal.
 */
export async function endProcess(
  identity: ProcessIdentity,
  options: { readonly termMs: number; readonly signal?: AbortSignal; readonly exited?: Promise<unknown> },
): Promise<"already-dead" | "sigterm" | "sigkill"> {
  if (!isAlive(identity)) return "already-dead";
  if (options.termMs > 0 && options.signal?.aborted !== true) {
    if (!signalProcess(identity, "SIGTERM")) return "already-dead";
    const dead = await waitForDeath(identity, { ...options, timeoutMs: options.termMs }).catch(() => false);
    if (dead) return "sigterm";
  }
  await killProcess(identity, options.exited);
  return "sigkill";
}

/** SIGKILL and the proof of death. Throws {@link ProcessStillAlive} after 5 s. */
export async function killProcess(identity: ProcessIdentity, exited?: Promise<unknown>): Promise<void> {
  signalProcess(identity, "SIGKILL");
  const dead = await waitForDeath(identity, { timeoutMs: KILL_PROOF_MS, ...(exited && { exited }) });
  if (!dead) throw new ProcessStillAlive(`process ${identity.pid} is not dead ${KILL_PROOF_MS} ms after SIGKILL`);
  // Our own child is a zombie until Node has reaped it; its exit code is worth a moment.
  if (exited !== undefined && (await within(exited, KILL_PROOF_MS)) === TIME_UP) {
    throw new ProcessStillAlive(`process ${identity.pid} was not reaped in time`);
  }
}
