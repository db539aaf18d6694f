import type { ReadVariable } from "./env-reader.ts";
import type { LoadedConfig } from "./load-config.ts";
import { maskUrlPasswords } from "./url-password.ts";
import { VARIABLE_GROUPS } from "./variable.ts";

/** One line of `drover config`. */
export interface ConfigRow {
  readonly group: string;
  readonly name: string;
  /** As it was set, or the default; `(set, not shown)` for a secret, what it means in brackets where it is empty. */
  readonly value: string;
  readonly source: "env" | "alias" | "default";
  /** The name that it was set under, where that is an alias. */
  readonly alias?: string;
}

/** The values in force with their sources, ordered as in the docs; secrets and the passwords of URLs are hidden. */
export function describeConfig({ sources }: Pick<LoadedConfig, "sources">): readonly ConfigRow[] {
  const order = Object.values<string>(VARIABLE_GROUPS);
  return sources
    .map((read) => ({
      group: VARIABLE_GROUPS[read.variable.group],
      name: read.variable.name,
      value: shownValue(read),
      source: read.source,
      ...(read.source === "alias" && read.setAs !== undefined ? { alias: read.setAs } : {}),
    }))
    .sort((a, b) => order.indexOf(a.group) - order.indexOf(b.group));
}

function shownValue({ variable, text }: ReadVariable): string {
  if (text === "") return variable.emptyMeans === undefined ? "" : `(${variable.emptyMeans})`;
  if (variable.secret) return "(set, not shown)";
  // A certificate may stand here as PEM text; its first line tells enough.
  const [firstLine = "", ...more] = maskUrlPasswords(text).split(/\r?\n/);
  return more.length === 0 ? firstLine : `${firstLine} ...`;
}
