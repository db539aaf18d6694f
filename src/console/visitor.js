/** @import {Role} from "../contract/role.ts" */

const ROLES = ["viewer", "submitter", "operator"];
const place = document.querySelector("#fleet");
/** Of whoever looks at the page, as the server has written it down there. */
const role = (place instanceof HTMLElement ? place.dataset["role"] : undefined) ?? "viewer";

/**
 * Whether the visitor may do what at least this role is for. The server decides again; here it only hides what would be
 * refused.
 * @param {Role} needed
 */
export function mayAct(needed) {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}
