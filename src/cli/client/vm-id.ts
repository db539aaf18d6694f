import { LIST_PAGE_MAX } from "../../contract/limits.ts";
import { CliError, UsageError } from "../cli-error.ts";
import { EXIT } from "../exit-codes.ts";
import type { ApiClient } from "./api-client.ts";

const FULL_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const PREFIX = /^[0-9a-f-]{4,35}$/;
/** A prefix is looked for in the newest 10,000 VMs; beyond that the list would cost more than typing the id. */
const PAGES_MAX = 20;
const SHOWN_MAX = 5;

/** The ids that the arguments name, each in full or by a prefix of at least four characters that only one VM has. */
export async function resolveVmIds(api: ApiClient, texts: readonly string[]): Promise<readonly string[]> {
  const wanted = texts.map((text) => text.trim().toLowerCase());
  for (const [index, text] of wanted.entries()) {
    if (FULL_ID.test(text) || PREFIX.test(text)) continue;
    throw new UsageError(`"${texts[index]}" is no VM id`, {
      hint: "Give the id, or its first characters (at least 4), as `drover ls` shows them.",
    });
  }
  const prefixes = wanted.filter((text) => !FULL_ID.test(text));
  if (prefixes.length === 0) return wanted;
  const found = await findByPrefix(api, prefixes);
  return wanted.map((text) => (FULL_ID.test(text) ? text : onlyOne(text, found.get(text) ?? [])));
}

/** The one id that an argument names. */
export async function resolveVmId(api: ApiClient, text: string): Promise<string> {
  const [id] = await resolveVmIds(api, [text]);
  return id ?? text;
}

async function findByPrefix(
  api: ApiClient,
  prefixes: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const found = new Map<string, string[]>(prefixes.map((prefix) => [prefix, []]));
  let cursor: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const list = await api.list({ limit: LIST_PAGE_MAX, ...(cursor === undefined ? {} : { cursor }) });
    for (const { id } of list.items) {
      for (const [prefix, ids] of found) if (id.startsWith(prefix)) ids.push(id);
    }
    if (list.next === null) return found;
    cursor = list.next;
  }
  throw new UsageError("there are too many VMs to look for the beginning of an id", {
    hint: "Give the whole id: `drover ls --json` has it.",
  });
}

function onlyOne(prefix: string, ids: readonly string[]): string {
  const [first, ...others] = ids;
  if (first === undefined) {
    throw new CliError(`no VM has an id that starts with ${prefix}`, {
      code: "vm_not_found",
      exitCode: EXIT.notFound,
      hint: "List what there is with `drover ls`.",
    });
  }
  if (others.length === 0) return first;
  const more = ids.length > SHOWN_MAX ? `, and ${ids.length - SHOWN_MAX} more` : "";
  throw new UsageError(
    `${ids.length} VMs have an id that starts with ${prefix}: ${ids.slice(0, SHOWN_MAX).join(", ")}${more}`,
    {
      code: "ambiguous_id",
      hint: "Give more of it.",
    },
  );
}
