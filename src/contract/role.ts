/**
 * What a caller may do, each with all that stands before it.
 *
 * - `viewer`: sees the VMs and events of its owner.
 * - `submitter`: submits, removes and retries them.
 * - `operator`: all of this for every owner; hosts, dashboard, metrics.
 */
export const ROLES = ["viewer", "submitter", "operator"] as const;
export type Role = (typeof ROLES)[number];

/** Whether a role may do what at least `needed` is for. */
export function mayAct(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}
