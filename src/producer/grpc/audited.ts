import type { ApiDeps } from "../api-deps.ts";
import { outcomeOf } from "./grpc-status.ts";
import type { UnaryCall } from "./unary-call.ts";

/** Does a change and writes the line of the audit for it, whatever comes of it. `target` names what is changed. */
export async function audited<T>(
  { audit }: Pick<ApiDeps, "audit">,
  { principal, remote }: Pick<UnaryCall<unknown>, "principal" | "remote">,
  action: string,
  change: (target: (id: string) => void) => Promise<T>,
): Promise<T> {
  let target = "";
  const note = (outcome: string) => audit.note({ principal, action, target, remote, protocol: "grpc", outcome });
  try {
    const changed = await change((id) => {
      target = id;
    });
    note("ok");
    return changed;
  } catch (error) {
    note(outcomeOf(error));
    throw error;
  }
}
