import { useState } from "preact/hooks";
import { html } from "../html.js";
import { newKey } from "../request-form.js";
import { asRefusal } from "./action.js";
import { Refused } from "./refused.js";

/** @import {ComponentChildren} from "preact" */
/** @import {Refusal} from "../refusal.js" */

/**
 * A form that is sent once, however often its button is pressed or an answer is lost: the key stays the same until
 * something in it changes.
 * @param {{ label: string, children?: ComponentChildren, send: (form: FormData, key: string) => Promise<void> }} props
 */
export function SentForm({ label, children, send }) {
  const [isBusy, setBusy] = useState(false);
  const [key, setKey] = useState(newKey);
  const [refusal, setRefusal] = useState(/** @type {Refusal | undefined} */ (undefined));
  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    if (!(event.currentTarget instanceof HTMLFormElement)) return;
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setRefusal(undefined);
    try {
      await send(form, key);
    } catch (error) {
      setRefusal(asRefusal(error));
    } finally {
      setBusy(false);
    }
  };
  return html`<form class="sheet" onSubmit=${submit} onInput=${() => setKey(newKey())} autocomplete="off">
    ${children}
    <${Refused} refusal=${refusal} />
    <button disabled=${isBusy}>${isBusy ? "Sending …" : label}</button>
  </form>`;
}
