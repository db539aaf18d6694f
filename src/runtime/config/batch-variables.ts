import { BATCH_ITEMS_MAX } from "../../contract/limits.ts";
import { int, keepTime, sizeBytes } from "./value-types.ts";
import { variable } from "./variable.ts";

/** Many requests at once. */
export const BATCH_VARIABLES = {
  itemsMax: variable({
    name: "DROVER_BATCH_MAX_ITEMS",
    type: int(1, BATCH_ITEMS_MAX),
    default: String(BATCH_ITEMS_MAX),
    group: "batches",
    doc: "How many requests one batch may hold.",
  }),
  bytesMax: variable({
    name: "DROVER_BATCH_MAX_BYTES",
    type: sizeBytes,
    default: "256M",
    group: "batches",
    doc: "How large the body of one batch may be.",
  }),
  windowItems: variable({
    name: "DROVER_BATCH_WINDOW",
    type: int(1, 100_000),
    default: "1000",
    group: "batches",
    doc: "How many VMs of one batch wait or run at once at most, unless the batch says less; the others wait in its list.",
  }),
  keepMs: variable({
    name: "DROVER_KEEP_BATCHES",
    type: keepTime,
    default: "336h",
    group: "batches",
    doc: "How long a batch that has ended is kept; its VMs are kept as all others.",
  }),
};
