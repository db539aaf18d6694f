import type { Checker } from "../history.ts";
import { pick } from "../history.ts";

/** I9: secrets stand in the VM's own directory, which only its owner may read, and nowhere else. */
export const secretsStayInside: Checker = (history) => [
  ...pick(history, "canary")
    .filter(({ value }) => !value.allowed)
    .map(({ value }) => ({ invariant: "I9", message: `${value.fields.join(", ")} stands in ${value.place}` })),
  ...pick(history, "mode")
    .filter(({ value }) => (value.mode & 0o077) !== 0)
    .map(({ value }) => ({ invariant: "I9", message: `${value.path} has mode ${value.mode.toString(8)}` })),
];
