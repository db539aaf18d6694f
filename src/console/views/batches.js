import { html } from "../html.js";
import { useLive } from "../live.js";
import { BatchTable } from "../parts/batch-table.js";
import { Section } from "../parts/section.js";
import { useTitle } from "../title.js";

/** @import {BatchList} from "../../contract/batch.ts" */
/** @import {Live} from "../live.js" */

const PAGE_BATCHES = 25;

/**
 * The batches that the visitor may see, newest first.
 * @param {{ query: URLSearchParams }} props
 */
export function BatchesPage({ query }) {
  useTitle("Batches");
  const cursor = query.get("cursor");
  const from = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
  const { value, refusal } = /** @type {Live<BatchList>} */ (useLive(`/v1/batches?limit=${PAGE_BATCHES}${from}`));
  const next = value?.next;
  return html`<h1>Batches</h1>
    <${Section} id="list" title="Newest first" refusal=${refusal}>
      ${refusal === undefined && html`<${BatchTable} batches=${value?.items} />`}
      <p class="pages">
        ${cursor !== null && html`<a href="/batches">Newest</a>`}
        ${next !== null && next !== undefined && html`<a href="/batches?cursor=${encodeURIComponent(next)}">Older</a>`}
      </p>
    <//>`;
}
