import { KNOWN_NAMES, REFUSED_DISK_NAME } from "./known-names.ts";
import { type AnyVariable, VARIABLE_GROUPS, type VariableGroup } from "./variable.ts";
import { ALL_VARIABLES } from "./variables.ts";

/** One line of the table in the docs. */
interface ReferenceRow {
  readonly group: VariableGroup;
  readonly name: string;
  readonly aliases: readonly string[];
  /** The default's text, or what an unset variable means in words. */
  readonly default: { readonly text: string; readonly isWords: boolean };
  readonly allowed: string;
  readonly doc: string;
  readonly secret: boolean;
}

export function configReference(): readonly ReferenceRow[] {
  return ALL_VARIABLES.map((variable) => ({
    group: variable.group,
    name: variable.name,
    aliases: variable.aliases,
    default: defaultOf(variable),
    allowed: variable.type.brief ?? variable.type.allowed,
    doc: variable.doc,
    secret: variable.secret,
  }));
}

function defaultOf({ default: text, defaultFor, emptyMeans }: AnyVariable): ReferenceRow["default"] {
  if (defaultFor !== undefined) return { text: defaultFor.text, isWords: true };
  return text === "" ? { text: emptyMeans ?? "(empty)", isWords: true } : { text, isWords: false };
}

/** The whole of docs/configuration.md. */
export function renderConfigReference(): string {
  const rows = configReference();
  const sections = Object.entries(VARIABLE_GROUPS).flatMap(([group, title]) => [
    `## ${title}`,
    "",
    "| Variable | Default | Allowed | Meaning |",
    "|---|---|---|---|",
    ...rows.filter((row) => row.group === group).map(renderRow),
    "",
  ]);
  const unread = KNOWN_NAMES.map(({ name, reason }) => `| \`${name}\` | ${cell(reason)} |`);
  return [
    INTRODUCTION,
    ...sections,
    "## Known names without effect",
    "",
    "A set one is listed at start and changes nothing.",
    "",
    "| Variable | Why |",
    "|---|---|",
    ...unread,
    "",
    `\`${REFUSED_DISK_NAME}\` is refused: all VMs would write to one disk.`,
    "",
  ].join("\n");
}

function renderRow({ name, aliases, default: { text, isWords }, allowed, doc, secret }: ReferenceRow): string {
  const names = [name, ...aliases].map((each) => `\`${each}\``).join(" or ");
  const meaning = secret ? `${doc} Secret: never printed.` : doc;
  return `| ${names} | ${isWords ? cell(text) : `\`${cell(text)}\``} | ${cell(allowed)} | ${cell(meaning)} |`;
}

/** A bar would end the cell, and Markdown would take <...> for HTML. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

const INTRODUCTION = `# Configuration

<!-- Generated from src/runtime/config by \`npm run docs\`; a test compares the two. -->

drover is configured by environment variables. Those of the Cocos manager keep their names, defaults and meanings, so that
a \`cocos-manager.env\` works as it is; drover's own begin with \`DROVER_\`. \`drover config\` prints the values in force and
where each one comes from.

- An empty value counts as unset.
- Booleans, whole numbers and durations are written as in Go: \`true\`, \`1\`, \`F\`; \`90s\`, \`1h30m\`, \`100ms\`.
- A text is one line of at most 4096 characters; sizes are QEMU's (\`2048M\`, \`25G\`). Durations go up to 576h (what a timer
  holds), times of keeping up to 8760h.
- All problems are listed at once, with name, value and what is allowed, and drover ends with exit code 2.
- An unknown name that begins with \`MANAGER_\` or \`DROVER_\` is a warning that names the nearest one.
- A variable with two names may be set under either; two different values are an error.

What differs from the README of the Cocos manager: an unset or empty host is loopback; unset, \`MANAGER_QEMU_ENABLE_SEV_SNP\`
and \`MANAGER_QEMU_ENABLE_TDX\` mean that the host is asked, and set they override its answer in both directions.
`;
