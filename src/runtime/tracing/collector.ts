import { connect } from "node:net";
import type { Logger } from "pino";

/** A collector on this machine answers in a moment; one that is far away should not hold up a start for longer. */
const CONNECT_MAX_MS = 1_000;

/** Where traces go: the collector of `COCOS_JAEGER_URL`, and whether it takes them. */
export class Collector {
  /** The whole address, user and password included. */
  readonly url: string;
  /** The same for people. */
  readonly shownUrl: string;
  readonly #logger: Logger;
  /** Whether it is known to be away: that is told once, and not with every try. */
  #isAway = false;

  constructor(url: string, logger: Logger) {
    const parsed = new URL(url);
    if (parsed.pathname === "/") parsed.pathname = "/v1/traces";
    this.url = parsed.href;
    this.shownUrl = `${parsed.origin}${parsed.pathname}`;
    this.#logger = logger;
  }

  /** Whether somebody listens there; the answer comes within a second. */
  isThere(signal: AbortSignal): Promise<boolean> {
    const { protocol, hostname, port } = new URL(this.url);
    const host = hostname.replace(/^\[|\]$/g, "");
    return new Promise((resolve) => {
      const socket = connect({ host, port: Number(port) || (protocol === "https:" ? 443 : 80) });
      const answer = (isThere: boolean, why: string) => {
        signal.removeEventListener("abort", abort);
        socket.destroy();
        if (!isThere && !signal.aborted) this.noteAway(why);
        resolve(isThere);
      };
      const abort = () => answer(false, "not asked any more");
      signal.addEventListener("abort", abort, { once: true });
      socket.setTimeout(CONNECT_MAX_MS, () => answer(false, `no connection within ${CONNECT_MAX_MS} ms`));
      socket.once("connect", () => answer(true, ""));
      socket.once("error", (error: NodeJS.ErrnoException) => answer(false, error.code ?? error.name));
    });
  }

  noteAway(why: string): void {
    if (this.#isAway) return;
    this.#isAway = true;
    this.#logger.warn(
      { url: this.shownUrl, why },
      "no collector takes traces, so they are dropped until one does; COCOS_JAEGER_URL names it, and COCOS_JAEGER_TRACE_RATIO=0 turns traces off",
    );
  }

  noteThere(): void {
    if (this.#isAway) this.#logger.info({ url: this.shownUrl }, "a collector takes traces");
    this.#isAway = false;
  }
}
