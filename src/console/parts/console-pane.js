import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "../api.js";
import { html } from "../html.js";
import { pause } from "../pause.js";
import { vmPath } from "../route.js";
import { readable } from "../text.js";
import { useWhileSeen } from "../while-seen.js";

/** More than that of a console makes a page slow; the rest is a matter for `drover logs`. */
const SHOWN_MAX_CHARS = 200_000;
const DRAW_EVERY_MS = 200;
const AGAIN_MS = 3_000;

/**
 * What the guest writes, as it comes, until the VM has ended; and again when it is retried.
 * @param {{ vmId: string, hasEnded: boolean }} props
 */
export function ConsolePane({ vmId, hasEnded }) {
  const [text, setText] = useState("");
  const [isOver, setOver] = useState(false);
  const [follows, setFollows] = useState(true);
  const pane = useRef(/** @type {HTMLPreElement | null} */ (null));
  const life = useLife(hasEnded);
  useWhileSeen(
    (signal) => {
      setOver(false);
      void follow(vmId, { signal, onText: setText, onEnd: () => setOver(true) });
    },
    [vmId, life],
  );
  useEffect(() => {
    if (follows && pane.current !== null) pane.current.scrollTop = pane.current.scrollHeight;
  }, [text, follows]);
  return html`<div class="console">
    <label class="check"
      ><input type="checkbox" checked=${follows} onChange=${() => setFollows(!follows)} /> Keep the last line in sight</label
    >
    <pre ref=${pane} tabindex="0" role="region" aria-label="Console of the VM">${text}</pre>
    <p class="hint">${isOver ? "This is all there is." : text === "" ? "The guest has not written anything yet." : "Goes on while the VM lives."}</p>
  </div>`;
}

/**
 * Counts how often a VM that had ended was put back into the queue.
 * @param {boolean} hasEnded
 */
function useLife(hasEnded) {
  const had = useRef(hasEnded);
  const [life, setLife] = useState(0);
  useEffect(() => {
    if (had.current && !hasEnded) setLife((before) => before + 1);
    had.current = hasEnded;
  }, [hasEnded]);
  return life;
}

/**
 * @param {string} vmId
 * @param {{ signal: AbortSignal, onText: (text: string) => void, onEnd: () => void }} to
 */
async function follow(vmId, { signal, onText, onEnd }) {
  while (!signal.aborted) {
    try {
      const response = await ask(`/v1${vmPath(vmId)}/console?follow`, { headers: { accept: "text/plain" }, signal });
      await readAll(response, { signal, onText });
      return onEnd();
    } catch {
      await pause(AGAIN_MS, signal); // its own beginning is sent again
    }
  }
}

/**
 * @param {Response} response
 * @param {{ signal: AbortSignal, onText: (text: string) => void }} to
 */
async function readAll(response, { signal, onText }) {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let output = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let drawing;
  const draw = () => {
    drawing = undefined;
    if (!signal.aborted) onText(readable(output));
  };
  for (;;) {
    const piece = await reader?.read();
    if (piece === undefined || piece.done) break;
    output = (output + decoder.decode(piece.value, { stream: true })).slice(-SHOWN_MAX_CHARS);
    drawing ??= setTimeout(draw, DRAW_EVERY_MS);
  }
  clearTimeout(drawing);
  draw();
}
