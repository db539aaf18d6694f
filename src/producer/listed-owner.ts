import { DroverError } from "../contract/errors.ts";
import type { Principal } from "./principal.ts";

/** Whose things a list shows; undefined means everybody's, which is for operators. */
export function listedOwner(principal: Principal, wanted: string | undefined, what = "VMs"): string | undefined {
  if (principal.role === "operator") return wanted;
  if (wanted === undefined || wanted === principal.owner) return principal.owner;
  const message = `only an operator sees the ${what} of others`;
  throw new DroverError("forbidden", `owner: ${message}; you are ${principal.owner}`, {
    problems: [{ field: "owner", message }],
  });
}
