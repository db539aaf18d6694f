import { z } from "zod";
import { DroverError } from "../contract/errors.ts";
import type { HostDetail } from "../contract/host-view.ts";
import type { ApiDeps } from "./api-deps.ts";
import { toHostDetail } from "./host-view.ts";

export const HostPath = z.strictObject({ id: z.string().describe("The host's id.") });

const SHOWN_CHARS = 64;

/** A host with the VMs that it has. Throws `host_not_found`. */
export async function readHost({ gate, hosts, lostVms }: ApiDeps, id: string): Promise<HostDetail> {
  const [host, held] = await gate.run(() => Promise.all([hosts.host(id), lostVms.held()]));
  if (host === undefined) throw hostNotFound(id);
  return toHostDetail(host, { held, portsTaken: await gate.run(() => hosts.portsTaken([host])) });
}

export function hostNotFound(id: string): DroverError {
  return new DroverError("host_not_found", `there is no host ${shortId(id)}; GET /v1/hosts lists all`);
}

/** An id as it came in a path, fit for a message. */
export function shortId(id: string): string {
  return JSON.stringify(id.slice(0, SHOWN_CHARS));
}
