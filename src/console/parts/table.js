import { html } from "../html.js";

/** @import {ComponentChildren} from "preact" */

/**
 * @template T
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: T) => ComponentChildren} cell
 */

/**
 * Rows of data. On a narrow screen every row becomes a card, whose lines carry the titles of the columns.
 * @template T
 * @param {{ caption: string, columns: readonly Column<T>[], rows: readonly T[] | undefined, keyOf: (row: T) => string, empty: string }} props
 */
export function Table({ caption, columns, rows, keyOf, empty }) {
  if (rows === undefined) return html`<p class="hint">Loading …</p>`;
  if (rows.length === 0) return html`<p class="hint">${empty}</p>`;
  return html`<table>
    <caption class="unseen">${caption}</caption>
    <thead><tr>${columns.map(({ title }) => html`<th scope="col">${title}</th>`)}</tr></thead>
    <tbody>
      ${rows.map(
        (row) => html`<tr key=${keyOf(row)}>
          ${columns.map(({ title, cell }, i) =>
            i === 0
              ? html`<th scope="row" data-title=${title}><div>${cell(row)}</div></th>`
              : html`<td data-title=${title}><div>${cell(row)}</div></td>`,
          )}
        </tr>`,
      )}
    </tbody>
  </table>`;
}
