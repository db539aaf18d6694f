import { type ConfigRow, describeConfig } from "../runtime/config/describe-config.ts";
import { type LoadedConfig, loadConfig } from "../runtime/config/load-config.ts";
import { printable, wrap } from "./render/text-width.ts";
import { warningText } from "./server-setup.ts";
import { jsonDocument } from "./session.ts";
import type { CliContext } from "./terminal.ts";

const SOURCE_CHARS = 9;
const VALUE_MIN_CHARS = 16;

/** `drover config`: the values in force with their sources, and the warnings. Problems end it with exit code 2. */
export async function showConfig(
  context: CliContext,
  { json, changed }: { json: boolean; changed: boolean },
): Promise<void> {
  const loaded: LoadedConfig = loadConfig(context.env);
  const rows = describeConfig(loaded).filter((row) => !changed || row.source !== "default");
  const { terminal } = context;
  if (json) return terminal.out(jsonDocument({ values: rows, warnings: loaded.warnings }));
  const groups = [...new Set(rows.map(({ group }) => group))];
  const lines = groups.flatMap((group) => [
    "",
    terminal.paint.bold(group),
    ...groupLines(
      rows.filter((row) => row.group === group),
      terminal,
    ),
  ]);
  await terminal.out(lines.length === 0 ? "Nothing differs from the defaults.\n" : `${lines.slice(1).join("\n")}\n`);
  for (const warning of loaded.warnings) terminal.err(warningText(warning, terminal));
}

/** Names, values and sources as columns; a value that is too long goes on below, nothing is cut. */
function groupLines(rows: readonly ConfigRow[], { columns, paint }: CliContext["terminal"]): readonly string[] {
  const nameChars = Math.max(...rows.map(({ name }) => name.length));
  const valueChars = Math.max(VALUE_MIN_CHARS, columns - nameChars - SOURCE_CHARS - 6);
  return rows.flatMap((row) => {
    const [first = "", ...more] = wrap(printable(row.value), valueChars);
    const source =
      row.source === "default" ? paint.dim("default") : paint.green(row.source === "alias" ? "alias" : "set");
    const alias = row.alias === undefined ? [] : [`  ${"".padEnd(nameChars)}  ${paint.dim(`set as ${row.alias}`)}`];
    return [
      `  ${row.name.padEnd(nameChars)}  ${first.padEnd(valueChars)}  ${source}`,
      ...more.map((line) => `  ${"".padEnd(nameChars)}  ${line}`),
      ...alias,
    ];
  });
}
