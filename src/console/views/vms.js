import { html } from "../html.js";
import { useLive } from "../live.js";
import { goTo } from "../navigation.js";
import { Section } from "../parts/section.js";
import { VmTable } from "../parts/vm-tables.js";
import { useTitle } from "../title.js";
import { ENDED, inStates, ON_HOSTS, readVms, WAITING } from "../vm-pages.js";

/** @import {VmList} from "../../contract/vm-view.ts" */
/** @import {Live} from "../live.js" */

const PAGE_VMS = 50;
/** @type {Readonly<Record<string, { name: string, states: readonly string[] }>>} */
const CHOICES = {
  all: { name: "All", states: [] },
  waiting: { name: "Waiting", states: WAITING },
  live: { name: "On hosts", states: ON_HOSTS },
  failed: { name: "Failed", states: ["failed"] },
  ended: { name: "Ended", states: ENDED },
};

/**
 * The VMs that the visitor may see, newest first, by state, label or host.
 * @param {{ query: URLSearchParams }} props
 */
export function VmsPage({ query }) {
  useTitle("VMs");
  const choice = query.get("show") ?? "all";
  const states = CHOICES[choice]?.states ?? [];
  const filters = ["label", "host", "pool", "cause"].flatMap((name) =>
    query
      .getAll(name)
      .filter((value) => value !== "")
      .map((value) => `${name}=${encodeURIComponent(value)}`),
  );
  const cursor = query.get("cursor");
  const asked = [inStates(states), ...filters, ...(cursor === null ? [] : [`cursor=${encodeURIComponent(cursor)}`])];
  const path = `/v1/vms?${[...asked.filter((part) => part !== ""), `limit=${PAGE_VMS}`].join("&")}`;
  const { value, refusal } = /** @type {Live<VmList>} */ (useLive(path, { load: readVms }));
  const next = value?.next;
  return html`<h1>VMs</h1>
    <nav aria-label="Which VMs" class="links choices">
      ${Object.entries(CHOICES).map(
        ([key, { name }]) =>
          html`<a href=${addressOf(query, { show: key })} aria-current=${key === choice ? "true" : undefined}>${name}</a>`,
      )}
    </nav>
    <form class="filters" onSubmit=${search}>
      <label>Label <input name="label" placeholder="name or name=value" value=${query.get("label") ?? ""} /></label>
      <label>Host <input name="host" value=${query.get("host") ?? ""} /></label>
      <button class="quiet">Filter</button>
    </form>
    <${Section} id="list" title=${CHOICES[choice]?.name ?? "All"} refusal=${refusal}>
      <${VmTable} kind=${choice === "waiting" ? "waiting" : choice === "live" ? "live" : "all"} vms=${value?.items}
        empty="There is no such VM." />
      <p class="pages">
        ${cursor !== null && html`<a href=${addressOf(query, {})}>Newest</a>`}
        ${next !== null && next !== undefined && html`<a href=${addressOf(query, { cursor: next })}>Older</a>`}
      </p>
    <//>`;

  /** @param {SubmitEvent} event */
  function search(event) {
    event.preventDefault();
    if (!(event.currentTarget instanceof HTMLFormElement)) return;
    const form = new FormData(event.currentTarget);
    goTo(addressOf(query, { label: String(form.get("label") ?? ""), host: String(form.get("host") ?? "") }));
  }
}

/**
 * The address of the list with some of its filters changed; without a cursor it begins anew.
 * @param {URLSearchParams} query
 * @param {Record<string, string>} changes
 */
function addressOf(query, changes) {
  const next = new URLSearchParams(query);
  next.delete("cursor");
  for (const [name, value] of Object.entries(changes)) {
    if (value === "") next.delete(name);
    else next.set(name, value);
  }
  const text = next.toString();
  return text === "" ? "/vms" : `/vms?${text}`;
}
