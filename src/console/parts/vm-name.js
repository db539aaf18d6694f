import { html } from "../html.js";
import { vmPath } from "../route.js";
import { shortId } from "../text.js";

/**
 * A VM by its name, or else by its id, as the link to its story.
 * @param {{ id: string, name?: string | null | undefined }} props
 */
export function VmName({ id, name }) {
  const isNamed = name !== null && name !== undefined && name !== "";
  return html`<a href=${vmPath(id)}>${isNamed ? name : shortId(id)}</a>${
    isNamed && html` <span class="faint">${shortId(id)}</span>`
  }`;
}
