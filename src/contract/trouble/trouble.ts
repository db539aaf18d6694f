/** What a person needs who has met a cause, beside what the catalogue says of it. Markdown. */
export interface Trouble {
  /** What QEMU, the log or the VM shows. */
  readonly sees: string;
  readonly why: string;
  readonly look: string;
  /** To type on the host, where that helps. */
  readonly commands?: readonly string[];
  /** What to do beyond the catalogue's `action`, and what then happens to the VMs. */
  readonly mend: string;
}
