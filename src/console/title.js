import { useEffect } from "preact/hooks";

/** Names the document after what it shows. @param {string} title */
export function useTitle(title) {
  useEffect(() => {
    document.title = `${title} - drover`;
  }, [title]);
}
