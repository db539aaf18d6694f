import { matching, orEmpty, sizeBytes } from "./value-types.ts";
import { variable } from "./variable.ts";

/** What a host offers beside its pools, and how much of its memory VMs may take. */
export const PLACEMENT_VARIABLES = {
  memoryReserveBytes: variable({
    name: "DROVER_MEMORY_RESERVE",
    type: sizeBytes,
    default: "1G",
    group: "placement",
    doc: "Memory of this host that no VM gets; VMs are launched only while the rest holds them.",
  }),
  memoryClasses: variable({
    name: "DROVER_MEMORY_CLASSES",
    type: orEmpty(matching(/^[^\s]{1,500}$/, "name=size pairs between commas, for example small=2G,large=16G")),
    default: "",
    emptyMeans: "none: every VM has MANAGER_QEMU_MEMORY_SIZE",
    group: "placement",
    doc: "Sizes of memory that requests may ask for by name (`memoryClass`).",
  }),
  hostLabels: variable({
    name: "DROVER_HOST_LABELS",
    type: orEmpty(matching(/^[^\s]{1,500}$/, "name=value pairs between commas, for example zone=a,disk=ssd")),
    default: "",
    emptyMeans: "none",
    group: "placement",
    doc: "Labels of this host that requests may ask for (`hostLabels`).",
  }),
};
