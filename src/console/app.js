import { useEffect, useRef } from "preact/hooks";
import { html } from "./html.js";
import { useEventStream } from "./keep-streaming.js";
import { route } from "./navigation.js";
import { notice } from "./notice.js";
import { Announcer } from "./parts/announcer.js";
import { StaleBanner } from "./parts/stale-banner.js";
import { BatchPage } from "./views/batch.js";
import { BatchesPage } from "./views/batches.js";
import { FailuresPage } from "./views/failures.js";
import { FleetPage } from "./views/fleet.js";
import { HostPage } from "./views/host.js";
import { HostsPage } from "./views/hosts.js";
import { Nowhere } from "./views/nowhere.js";
import { SubmitPage } from "./views/submit.js";
import { VmPage } from "./views/vm.js";
import { VmsPage } from "./views/vms.js";

/** @type {Record<import("./route.js").Route["view"], import("preact").FunctionComponent<{ id: string, query: URLSearchParams }>>} */
const VIEWS = {
  fleet: FleetPage,
  vms: VmsPage,
  vm: VmPage,
  batches: BatchesPage,
  batch: BatchPage,
  hosts: HostsPage,
  host: HostPage,
  failures: FailuresPage,
  submit: SubmitPage,
  nowhere: Nowhere,
};

/** The whole page below its header. */
export function App() {
  useEventStream();
  const { view, id, query } = route.use();
  const said = notice.use();
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  const isFirst = useRef(true);
  useEffect(() => {
    if (!isFirst.current) main.current?.focus(); // as a new document would: reading begins at its top
    isFirst.current = false;
  }, [view, id]);
  const View = VIEWS[view];
  return html`<main id="content" tabindex="-1" ref=${main}>
    <${StaleBanner} />
    <div role="status" class="notice-place">${said !== "" && html`<p class="notice">${said}</p>`}</div>
    <${View} key=${`${view} ${id}`} id=${id} query=${query} />
    <${Announcer} />
  </main>`;
}
