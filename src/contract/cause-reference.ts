import { CAUSES, type CauseFacts } from "./causes.ts";

const RETRY_WORDS: Readonly<Record<CauseFacts["retry"], string>> = {
  never: "no: the VM fails for good",
  backoff: "yes: an attempt is used, the next one follows after the backoff",
  "same-attempt": "within the same attempt, by drover itself",
  requeue: "on another host, without using an attempt; where there is no other, the VM fails",
};

/** docs/causes.md, made from the catalogue. */
export function renderCauseReference(): string {
  const entries = Object.entries<CauseFacts>(CAUSES).map(([code, { retry, fault, means, action }]) =>
    [
      `## ${code}`,
      "",
      means,
      "",
      `- Tried again: ${RETRY_WORDS[retry]}.`,
      `- Whose fault: the ${fault === "vm" ? "VM's" : "host's"}.`,
      `- What to do: ${action}`,
      "",
    ].join("\n"),
  );
  return [
    "# Causes",
    "",
    "<!-- Made from the catalogue (src/contract/causes.ts) by `npm run docs`. Change it there. -->",
    "",
    "Why a launch failed or a VM ended badly. Every failure is classified once into one of these; the code is stable and",
    "stands in the VM (`cause.code`), in its events and on the dashboard. [troubleshooting.md](troubleshooting.md) says of each",
    "what you see, how to look and how to mend it.",
    "",
    ...entries,
  ].join("\n");
}
