/**
 * The pool of VMs that only this host may run. No request can name it: a pool's name has no `@`.
 * A host's id has letters, digits and `. _ -` only, so the name is fit for a queue.
 */
export function hostPool(hostId: string): string {
  return `@${hostId}`;
}
