import { mayAct, type Role } from "../../contract/role.ts";
import { type Html, html } from "./html.ts";
import type { Page } from "./page.ts";
import type { Visitor } from "./visitor.ts";

interface Place {
  readonly path: string;
  readonly name: string;
  readonly text: string;
  readonly role: Role;
}

const PLACES: readonly Place[] = [
  { path: "/board", name: "Dashboard", text: "Queues and VMs, as they are now.", role: "operator" },
  { path: "/docs", name: "HTTP API", text: "Read what there is, and try it.", role: "viewer" },
];

/** The first page: what its visitor may look at. */
export function homePage(visitor: Visitor): Page {
  const open = PLACES.filter(({ role }) => mayAct(visitor.principal.role, role));
  return { title: "Where to", main: html`<ul class="places">${open.map(placeItem)}</ul>`, visitor };
}

function placeItem({ path, name, text }: Place): Html {
  return html`<li><a href="${path}">${name}</a> <span>${text}</span></li>`;
}
