import { useEffect } from "preact/hooks";

/**
 * Keeps something open while somebody looks at the page: a browser has six connections for all pages of a server, and the
 * server has seats for so many readers. The signal ends it; whoever looks again begins it anew.
 * @param {(signal: AbortSignal) => void} open
 * @param {readonly unknown[]} what with another one it begins anew, too
 */
export function useWhileSeen(open, what) {
  useEffect(() => {
    /** @type {AbortController | undefined} */
    let opened;
    const turn = () => {
      opened?.abort();
      opened = document.hidden ? undefined : new AbortController();
      if (opened !== undefined) open(opened.signal);
    };
    turn();
    document.addEventListener("visibilitychange", turn);
    return () => {
      document.removeEventListener("visibilitychange", turn);
      opened?.abort();
    };
  }, what);
}
