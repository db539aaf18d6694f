import { LIST_PAGE_MAX } from "../../contract/limits.ts";
import { isBatchId } from "../../runtime/batch-id.ts";
import { CliError, UsageError } from "../cli-error.ts";
import { EXIT } from "../exit-codes.ts";
import type { BatchClient } from "./batch-client.ts";

const PREFIX = /^[0-9a-f-]{4,26}$/;
/** A beginning is looked for in the newest 5,000 batches. */
const PAGES_MAX = 10;

/** The one batch that an argument names, in full or by its first characters (at least four). */
export async function resolveBatchId(batches: BatchClient, text: string): Promise<string> {
  const wanted = text.trim().toLowerCase();
  if (isBatchId(wanted)) return wanted;
  if (!PREFIX.test(wanted)) {
    throw new UsageError(`"${text}" is no batch id`, {
      hint: "Give the id, or its first characters (at least 4), as `drover batch ls` shows them.",
    });
  }
  const found: string[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const list = await batches.list({ limit: LIST_PAGE_MAX, ...(cursor === undefined ? {} : { cursor }) });
    found.push(...list.items.map(({ id }) => id).filter((id) => id.startsWith(wanted)));
    if (list.next === null) break;
    cursor = list.next;
  }
  const [only, ...others] = found;
  if (only === undefined) {
    throw new CliError(`no batch has an id that starts with ${wanted}`, {
      code: "batch_not_found",
      exitCode: EXIT.notFound,
      hint: "List what there is with `drover batch ls`.",
    });
  }
  if (others.length === 0) return only;
  throw new UsageError(`${found.length} batches have an id that starts with ${wanted}`, {
    code: "ambiguous_id",
    hint: "Give more of it.",
  });
}
