import type { Check } from "./check.ts";
import type { TeeFacts } from "./tee-facts.ts";

/** What QEMU must be able to make for such a VM, and the first version that can, all of it built in. */
const OBJECTS = {
  snp: { names: ["sev-snp-guest", "igvm-cfg", "memory-backend-memfd"], since: "10.1, built with libigvm" },
  tdx: { names: ["tdx-guest", "memory-backend-memfd"], since: "10.1" },
} as const;
const LABELS = { snp: "SEV-SNP", tdx: "TDX" } as const;
const SWITCHES = { snp: "MANAGER_QEMU_ENABLE_SEV_SNP", tdx: "MANAGER_QEMU_ENABLE_TDX" } as const;
/** Kernels write both for a parameter that is on. */
const ON = /^[Y1]$/;
/** QEMU gives TDX guests no named processor ("Named cpu model is not supported for TDX"). */
const TDX_CPU_MODELS = /^(?:host|max)(?:,|$)/;

/** Pure: whether this host gives its VMs what makes them confidential. */
export function teeChecks(facts: TeeFacts): readonly Check[] {
  const { tee, kind } = facts;
  if ("problem" in tee) {
    const todo = `Set ${kind === "tdx" ? SWITCHES.tdx : SWITCHES.snp} to false, or: ${wayToHave(facts, kind === "tdx" ? "tdx" : "snp")}`;
    return [problem("tee", tee.problem, todo), ...(kind === "none" ? [] : needs(facts, kind))];
  }
  if (kind === "none") return plainChecks(facts);
  return [ok("tee", `VMs are confidential (${kind})`), ...needs(facts, kind)];
}

/** VMs are not confidential: said where the hardware could do it, and nobody decided against it. */
function plainChecks(facts: TeeFacts): readonly Check[] {
  const { tee, cpuHas } = facts;
  if ("note" in tee && tee.note !== undefined) return [ok("tee", `VMs are not confidential: ${tee.note}`)];
  const idle = (["snp", "tdx"] as const).find((kind) => cpuHas[kind]);
  if (idle === undefined) return [];
  const todo = `${wayToHave(facts, idle)} Or say so with ${SWITCHES[idle]}=false.`;
  return [warning("tee", `the processor has ${LABELS[idle]}, and the kernel does not offer it`, todo)];
}

function wayToHave({ cpuHas, parameters }: TeeFacts, kind: "snp" | "tdx"): string {
  if (!cpuHas[kind]) {
    return kind === "snp"
      ? "switch SEV-SNP (SMEE, SNP memory coverage) on in the firmware's set-up; it needs an EPYC 7003 or newer."
      : "switch TDX on in the firmware's set-up; it needs a 5th generation Xeon or newer, and a kernel with TDX.";
  }
  if (kind === "tdx") return "load kvm_intel with tdx=1 (options kvm_intel tdx=1 in /etc/modprobe.d); see `dmesg`.";
  const { sev, sevEs, sevSnp } = parameters;
  if (sevSnp === undefined) return "load kvm_amd; parameter sev_snp came with Linux 6.11.";
  const off = Object.entries({ sev, sev_es: sevEs, sev_snp: sevSnp }).filter(([, value]) => !ON.test(value ?? ""));
  const names = off.map(([name]) => `${name}=1`).join(" ");
  return `load kvm_amd with ${names} and the IOMMU on without pass-through (kernel command line iommu=nopt); see \`dmesg\`.`;
}

function needs(facts: TeeFacts, kind: "snp" | "tdx"): readonly Check[] {
  return [
    ...qemuCheck(facts, kind),
    ...(facts.usesKvm
      ? []
      : [problem("tee_kvm", "confidential VMs need KVM, and it is switched off", "Set MANAGER_QEMU_ENABLE_KVM=true.")]),
    ...keysCheck(facts, kind),
    ...(kind === "snp" ? sevDeviceCheck(facts) : tdxChecks(facts)),
  ];
}

function qemuCheck({ qemuObjects }: TeeFacts, kind: "snp" | "tdx"): readonly Check[] {
  if (qemuObjects === undefined) return []; // that QEMU cannot be run is said elsewhere
  const { names, since } = OBJECTS[kind];
  const missing = names.filter((name) => !qemuObjects.includes(name));
  if (missing.length === 0) return [ok("tee_qemu", `QEMU can make ${LABELS[kind]} guests`)];
  const todo = `Take QEMU ${since}, with MANAGER_QEMU_BIN_PATH.`;
  return [problem("tee_qemu", `QEMU lacks ${missing.join(", ")} for ${LABELS[kind]} guests`, todo)];
}

function keysCheck({ keys, maxVms }: TeeFacts, kind: "snp" | "tdx"): readonly Check[] {
  const count = keys[kind];
  if (count === undefined) return [];
  const what = kind === "snp" ? "ASIDs for SEV-SNP guests" : "key ids for TDX guests";
  const raise = kind === "snp" ? 'Raise "SEV-ES ASID space limit" in the firmware\'s set-up' : "Lower MANAGER_MAX_VMS";
  if (count === 0) return [problem("tee_keys", `the host has no ${what}`, `${raise}, and start the machine again.`)];
  if (maxVms > 0 && maxVms <= count) return [ok("tee_keys", `${count} ${what}`)];
  const text = `the host has ${count} ${what}, fewer than ${maxVms > 0 ? `the ${maxVms} VMs that it takes` : "it may take VMs"}`;
  return [warning("tee_keys", text, `It takes ${count} confidential VMs at most. ${raise}.`)];
}

function sevDeviceCheck({ sevDeviceErrno }: TeeFacts): readonly Check[] {
  if (sevDeviceErrno === undefined) return [ok("sev_device", "/dev/sev is there for this user")];
  return sevDeviceErrno === "ENOENT"
    ? [problem("sev_device", "there is no /dev/sev", "Load module ccp; `dmesg | grep -i ccp` says what keeps it away.")]
    : [
        problem(
          "sev_device",
          `this user may not use /dev/sev (${sevDeviceErrno})`,
          "Give it to group kvm by a udev rule, and put the user that runs QEMU into that group.",
        ),
      ];
}

function tdxChecks({ hasVsockLoopback, cpuModel }: TeeFacts): readonly Check[] {
  return [
    TDX_CPU_MODELS.test(cpuModel)
      ? ok("tdx_cpu", `TDX guests get the host's own processor (${cpuModel})`)
      : problem("tdx_cpu", `QEMU starts no TDX guest with the CPU model ${cpuModel}`, "Set MANAGER_QEMU_CPU=host."),
    hasVsockLoopback
      ? ok("tdx_vsock", "the machine reaches its own vsock ports")
      : warning(
          "tdx_vsock",
          "TDX guests get no quotes: the machine does not reach its own vsock ports",
          "modprobe vsock_loopback, and run the quote generation service (qgsd) on MANAGER_QEMU_QUOTE_GENERATION_PORT.",
        ),
  ];
}

function ok(id: string, text: string): Check {
  return { id, area: "host", status: "ok", text };
}

function warning(id: string, text: string, todo: string): Check {
  return { id, area: "host", status: "warning", text, todo };
}

function problem(id: string, text: string, todo: string): Check {
  return { id, area: "host", status: "problem", text, todo };
}
