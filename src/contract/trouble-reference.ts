import { CAUSES, type CauseCode } from "./causes.ts";
import { CASES, FIRST_STEPS } from "./trouble/cases.ts";
import { FILE_TROUBLES } from "./trouble/file-troubles.ts";
import { FLEET_TROUBLES } from "./trouble/fleet-troubles.ts";
import { HARDWARE_TROUBLES } from "./trouble/hardware-troubles.ts";
import { RUN_TROUBLES } from "./trouble/run-troubles.ts";
import type { Trouble } from "./trouble/trouble.ts";

/** Every cause has its section: a new one without it does not compile. */
const TROUBLES: Readonly<Record<CauseCode, Trouble>> = {
  ...FILE_TROUBLES,
  ...HARDWARE_TROUBLES,
  ...RUN_TROUBLES,
  ...FLEET_TROUBLES,
};

/** docs/troubleshooting.md, made from the catalogue of causes and what is known of each. */
export function renderTroubleshooting(): string {
  const codes = Object.keys(CAUSES) as CauseCode[];
  return [
    "# Troubleshooting",
    "",
    "<!-- Made from src/contract/causes.ts and src/contract/trouble/ by `npm run docs`. Change it there. -->",
    "",
    "For each cause that a failed launch can have: what you see, why it happens, how to look, how to mend it. Before them,",
    "what to do first and some cases that are not about one VM. Paths and ports in commands are examples.",
    "",
    FIRST_STEPS,
    "",
    CASES,
    "",
    "## Causes",
    "",
    codes.map((code) => `[${code}](#${code})`).join(", "),
    "",
    ...codes.map((code) => section(code, TROUBLES[code])),
  ].join("\n");
}

function section(code: CauseCode, { sees, why, look, commands, mend }: Trouble): string {
  const { means, action } = CAUSES[code];
  const toType = commands === undefined ? [] : ["", "```text", ...commands, "```"];
  return [
    `### ${code}`,
    "",
    means,
    "",
    `- **What you see.** ${sees}`,
    `- **Why.** ${why}`,
    `- **How to look.** ${look}`,
    ...toType,
    "",
    `**How to mend it.** ${action} ${mend}`,
    "",
  ].join("\n");
}
