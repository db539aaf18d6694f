import type { Checker } from "../history.ts";
import { pick } from "../history.ts";

/** I5: at rest there are exactly the processes, ports, files and keys of the VMs that live; nothing more, nothing less. */
export const exactlyTheLiveSet: Checker = (history) => {
  const scans = pick(history, "scan");
  const missing = (["live", "empty"] as const)
    .filter((when) => !scans.some(({ value }) => value.when === when))
    .map((when) => ({ invariant: "I5", message: `nobody has looked what there is at rest (${when})` }));
  const problems = scans.flatMap(({ value }) =>
    value.problems.map(({ kind, text }) => ({ invariant: "I5", message: `${kind} (${value.when}): ${text}` })),
  );
  return [...missing, ...problems];
};
