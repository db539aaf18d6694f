import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { refreshAll } from "../live.js";
import { say } from "../notice.js";
import { Refusal } from "../refusal.js";
import { Refused } from "./refused.js";

/** @import {ComponentChildren} from "preact" */

/**
 * A button that does something at the server, after a question in a dialog. `run` gives what to say when it is done.
 * @param {{
 *   label: string,
 *   title: string,
 *   children?: ComponentChildren,
 *   danger?: boolean,
 *   about?: string,
 *   run: (form: FormData) => Promise<string>,
 * }} props `about`: what the button is for, where its label alone does not say
 */
export function Action({ label, title, children, danger = false, about, run }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const [isOpen, setOpen] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState(/** @type {Refusal | undefined} */ (undefined));
  useEffect(() => {
    if (isOpen) dialog.current?.showModal();
  }, [isOpen]);
  const close = () => dialog.current?.close();
  const closed = () => {
    setOpen(false);
    setRefusal(undefined);
  };
  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    if (!(event.currentTarget instanceof HTMLFormElement)) return;
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setRefusal(undefined);
    try {
      say(await run(form));
      refreshAll();
      close();
    } catch (error) {
      setRefusal(asRefusal(error));
    } finally {
      setBusy(false);
    }
  };
  return html`<button type="button" class=${danger ? "danger" : "quiet"} aria-label=${about} onClick=${() => setOpen(true)}>
      ${label}</button
    >${
      isOpen &&
      html`<dialog ref=${dialog} onClose=${closed} aria-label=${title}>
      <form onSubmit=${submit}>
        <h2>${title}</h2>
        <div>${children}</div>
        <${Refused} refusal=${refusal} />
        <div class="buttons">
          <button type="button" class="quiet" onClick=${close}>Back</button>
          <button class=${danger ? "danger" : ""} disabled=${isBusy}>${isBusy ? "Working …" : label}</button>
        </div>
      </form>
    </dialog>`
    }`;
}

/** @param {unknown} error */
export function asRefusal(error) {
  return error instanceof Refusal
    ? error
    : new Refusal({ status: 0, code: "", detail: "this did not work; try again" });
}
