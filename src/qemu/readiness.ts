import { createConnection } from "node:net";
import { LaunchFailure } from "../contract/causes.ts";
import { pause } from "../runtime/bounded-wait.ts";
import { linkSignals } from "../runtime/link-signals.ts";

const TRY_EVERY_MS = 50;
/**
 * How long one try stays open. Held longer, a connection made before the guest listens is worse than a new one:
 * slirp repeats its SYN with growing pauses and was seen to answer after 6 s for a guest that was ready after 2 s.
 */
const TRY_OPEN_MS = 200;

/** Start of an HTTP/2 connection (RFC 9113 section 3.4) with empty SETTINGS: makes a gRPC or TLS server answer. */
const HTTP2_PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0", "latin1");

export interface ReadinessWait {
  /** Until when; the boot deadline of the launch. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Waits until the guest sends a byte on its forwarded port. That a connection is accepted says nothing: QEMU accepts
 * as soon as it runs. So many short tries are made, every other one silent (for servers that speak first), the rest
 * with an HTTP/2 preface. Returns how long it took, in ms.
 * Throws LaunchFailure `boot_timeout` when the time is up, and the signal's reason.
 */
export async function waitForTcpBytes(
  target: { readonly host: string; readonly port: number },
  wait: ReadinessWait,
): Promise<number> {
  const startedMs = performance.now();
  const over = new AbortController(); // ends the tries that are open when one has succeeded or time is up
  const ended = linkSignals(wait.signal === undefined ? [over.signal] : [over.signal, wait.signal]);
  let isReady = false;
  try {
    for (let tries = 0; !isReady; tries += 1) {
      if (performance.now() - startedMs >= wait.timeoutMs) {
        throw new LaunchFailure("boot_timeout", `the guest sent nothing on its port within ${wait.timeoutMs} ms`);
      }
      const greeting = tries % 2 === 0 ? undefined : HTTP2_PREFACE;
      void tryOnce(target, greeting, over.signal).then((answered) => {
        if (!answered || isReady) return;
        isReady = true;
        over.abort();
      });
      await pause(TRY_EVERY_MS, ended.signal).catch((error: unknown) => {
        if (!isReady) throw error;
      });
    }
    return performance.now() - startedMs;
  } finally {
    over.abort();
    ended.release();
  }
}

/** True when a byte came. Never rejects: a refused or reset connection is a try that failed. */
function tryOnce(
  { host, port }: { readonly host: string; readonly port: number },
  greeting: Buffer | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    const finish = (answered: boolean) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
      socket.destroy();
      resolve(answered);
    };
    const giveUp = () => finish(false);
    const timer = setTimeout(giveUp, TRY_OPEN_MS);
    signal.addEventListener("abort", giveUp, { once: true });
    socket.once("data", () => finish(true));
    socket.once("error", giveUp);
    socket.once("close", giveUp);
    if (greeting !== undefined) socket.once("connect", () => socket.write(greeting));
  });
}
