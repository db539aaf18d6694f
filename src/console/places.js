import { html } from "./html.js";
import { route } from "./navigation.js";
import { mayAct } from "./visitor.js";

/** @import {Role} from "../contract/role.ts" */
/** @import {Route} from "./route.js" */

/** @type {readonly { path: string, name: string, views: readonly Route["view"][], role: Role }[]} */
const PLACES = [
  { path: "/", name: "Fleet", views: ["fleet"], role: "viewer" },
  { path: "/vms", name: "VMs", views: ["vms", "vm"], role: "viewer" },
  { path: "/batches", name: "Batches", views: ["batches", "batch"], role: "viewer" },
  { path: "/hosts", name: "Hosts", views: ["hosts", "host"], role: "operator" },
  { path: "/failures", name: "Failures", views: ["failures"], role: "viewer" },
  { path: "/submit", name: "Submit", views: ["submit"], role: "submitter" },
  { path: "/board", name: "Queues", views: [], role: "operator" },
  { path: "/docs", name: "API", views: [], role: "viewer" },
];

/** The links in the header: what the visitor may look at. */
export function Places() {
  const { view } = route.use();
  return html`<ul>
    ${PLACES.filter(({ role }) => mayAct(role)).map(
      ({ path, name, views }) =>
        html`<li><a href=${path} aria-current=${views.includes(view) ? "page" : undefined}>${name}</a></li>`,
    )}
  </ul>`;
}
