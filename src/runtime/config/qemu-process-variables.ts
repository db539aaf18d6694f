import { choice, matching, optional, sizeBytes } from "./value-types.ts";
import { variable } from "./variable.ts";

/** As whom and with how much QEMU runs. */
export const QEMU_PROCESS_VARIABLES = {
  user: variable({
    name: "DROVER_QEMU_USER",
    type: optional(
      matching(/^[a-z_][a-z0-9_-]{0,31}\$?$|^[0-9]{1,10}$/, "the name or the number of a user of this machine"),
    ),
    default: "",
    emptyMeans: "the worker's own user",
    group: "host",
    doc: "Unprivileged user that QEMU runs as; the worker must be root for that.",
  }),
  limits: variable({
    name: "DROVER_QEMU_LIMITS",
    type: choice("auto", "cgroup", "systemd", "off"),
    default: "auto",
    group: "host",
    doc: "How memory and processors of a QEMU are limited: by a cgroup v2 of its own, by a systemd scope, or by whichever this host lets the worker use.",
  }),
  memoryOverheadBytes: variable({
    name: "DROVER_QEMU_MEMORY_OVERHEAD",
    type: sizeBytes,
    default: "1G",
    group: "host",
    doc: "Memory that QEMU may use beside the guest's before it is limited.",
  }),
};
