import { useEffect, useState } from "preact/hooks";

/**
 * A value that parts of the page show and others set.
 * @template T
 * @param {T} first
 */
export function observable(first) {
  let value = first;
  /** @type {Set<(value: T) => void>} */
  const listeners = new Set();
  return {
    get: () => value,
    /** @param {T} next */
    set(next) {
      if (next === value) return;
      value = next;
      for (const listener of listeners) listener(next);
    },
    /**
     * For components: the value, now and whenever it changes.
     * @returns {T}
     */
    use() {
      const [shown, show] = useState(value);
      useEffect(() => {
        show(value);
        listeners.add(show);
        return () => void listeners.delete(show);
      }, []);
      return shown;
    },
  };
}
