import { html } from "../html.js";
import { useTitle } from "../title.js";

/** For an address that names nothing. */
export function Nowhere() {
  useTitle("No such page");
  return html`<h1>No such page</h1><p>Look at <a href="/">the fleet</a>.</p>`;
}
