import type { BatchItemPage } from "../../queue/batch-items.ts";
import { ENDED_STATES } from "../../queue/batch-states.ts";
import type { ApiDeps } from "../api-deps.ts";
import type { OpenAnswer } from "../open-answer.ts";
import { toBatchResult } from "./batch-view.ts";

/** A result holds 64 KB at most, so a page of them is bounded. */
const PAGE_RESULTS = 50;

/** The items of a batch that have ended, with what their guests handed back, in order, page by page. */
export async function* resultPages(
  { batches, gate }: Pick<ApiDeps, "batches" | "gate">,
  batchId: string,
): AsyncGenerator<BatchItemPage["items"]> {
  let cursor: string | undefined;
  do {
    const page = await gate.run(() =>
      batches.items(batchId, { states: ENDED_STATES, limit: PAGE_RESULTS, cursor, results: true }),
    );
    yield page.items;
    cursor = page.next ?? undefined;
  } while (cursor !== undefined);
}

/** Writes pages as NDJSON, as fast as the reader takes them. Throws `ReaderGone` when it leaves. */
export async function writeResults(
  pages: AsyncIterable<BatchItemPage["items"]>,
  answer: Pick<OpenAnswer, "write" | "over">,
): Promise<void> {
  for await (const items of pages) {
    if (answer.over.aborted) return;
    if (items.length > 0) await answer.write(items.map((item) => `${JSON.stringify(toBatchResult(item))}\n`).join(""));
  }
}
