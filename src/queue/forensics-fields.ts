import { FORENSICS_KEPT } from "../contract/limits.ts";

/** Where in the hash of a VM's last lines the details of a failed launch stand: a newer launch takes an old one's place. */
export function forensicsField(epoch: number): string {
  return `forensics:${epoch % FORENSICS_KEPT}`;
}

/** Where that stands which is found out later of the same launch. */
export function launchFilesField(epoch: number): string {
  return `files:${epoch % FORENSICS_KEPT}`;
}
