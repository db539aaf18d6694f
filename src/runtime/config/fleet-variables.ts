import { choice, keepTime, matching, timeout } from "./value-types.ts";
import { variable } from "./variable.ts";

/** How hosts show that they live, and what becomes of the VMs of one that does not. */
export const LEASE_VARIABLES = {
  ttlMs: variable({
    name: "DROVER_LEASE",
    type: timeout,
    default: "30s",
    group: "fleet",
    doc: "How long a host counts as alive after it last said so.",
  }),
  renewMs: variable({
    name: "DROVER_LEASE_RENEW",
    type: timeout,
    default: "5s",
    group: "fleet",
    doc: "How often a host says that it lives; a third of DROVER_LEASE at most.",
  }),
};

export const HOST_LOST_VARIABLES = {
  policy: variable({
    name: "DROVER_HOST_LOST",
    type: choice("rerun", "hold"),
    default: "rerun",
    group: "fleet",
    doc: "What becomes of this host's VMs when it is lost: launched elsewhere, or held until an operator says so. `drover up` holds unless this is set.",
  }),
  afterMs: variable({
    name: "DROVER_HOST_LOST_AFTER",
    type: timeout,
    default: "5m",
    group: "fleet",
    doc: "How long a host must be silent before its VMs are launched elsewhere; longer than DROVER_LEASE.",
  }),
  onPartition: variable({
    name: "DROVER_ON_PARTITION",
    type: choice("keep", "stop"),
    default: "keep",
    group: "fleet",
    doc: "What a live worker does with its VMs when it cannot reach Redis for DROVER_HOST_LOST_AFTER: keep them running, or stop them before others may launch them.",
  }),
  awayMaxMs: variable({
    name: "DROVER_AWAY_MAX",
    type: keepTime,
    default: "1h",
    group: "fleet",
    doc: "How long a host whose worker was stopped on purpose may stay away before it counts as lost.",
  }),
};

export const TEST_VARIABLES = {
  failpoint: variable({
    name: "DROVER_FAILPOINT",
    type: matching(/^$|^[A-Za-z0-9_.:,@-]{1,500}$/, "point[@name]:action[:nth], several between commas"),
    default: "",
    emptyMeans: "none",
    group: "test",
    doc: "Makes the worker die or stop at a named step, to prove its recovery. For tests only: refused when NODE_ENV is production.",
  }),
};
