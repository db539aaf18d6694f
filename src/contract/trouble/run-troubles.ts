import type { CauseCode } from "../causes.ts";
import type { Trouble } from "./trouble.ts";

/** What goes wrong while a guest boots or runs. */
export const RUN_TROUBLES = {
  boot_timeout: {
    sees: "The VM did not become `running` (or `ready`, with a probe) in time. QEMU was alive; the console stops somewhere, or shows nothing.",
    why: "The guest is slow (no KVM, many guests that boot at once, a large initrd), hangs in its firmware, or is up and its probe looks for something that never comes.",
    look: "How far the guest came, and how long such guests take elsewhere:",
    commands: ["drover console ID", "drover get ID --forensics", "drover hosts"],
    mend: "Raise `bootTimeout` of the request or DROVER_BOOT_TIMEOUT, lower DROVER_MAX_BOOTS where many guests boot at once, or mend the probe. An empty console often means a kernel line without `console=ttyS0`.",
  },
  guest_panic: {
    sees: "QEMU told `GUEST_PANICKED`; the last lines of the console hold the kernel's report.",
    why: "The guest's kernel failed: no root file system, a module that is missing, too little memory, or a fault of the guest's own software.",
    look: "The end of the console, and whether it is one host or all of them (`drover failures`):",
    commands: ["drover console ID", "drover get ID --forensics"],
    mend: "On all hosts it is the image: compare its digest with that of the last one that worked. On one host it may be that host's memory or processor. A confidential guest has no device that tells of a panic: it hangs, and ends with `boot_timeout` or by its ttl.",
  },
  computation_failed: {
    sees: "The VM ran, ended itself and handed back an exit code other than 0.",
    why: "The computation says so. drover and the host have done their part.",
    look: "The exit code, what was handed back, and the end of the console:",
    commands: ["drover get ID", "drover console ID"],
    mend: "Mend the computation or its input and submit it again. Where chance plays a part, `retryComputation` tries again by itself.",
  },
  qemu_crashed: {
    sees: "QEMU ended with an error, or by a signal of its own making (SIGSEGV, SIGABRT). `drover get ID --forensics` has signal or exit code and its last words.",
    why: "A bug of QEMU, memory of the host that is broken, or an error that QEMU found at run time and drover does not know by name.",
    look: "What the kernel noted, and whether it comes again when the command is [run by hand](#run-the-command-by-hand):",
    commands: ["journalctl -k --since -1h | grep -i 'qemu\\|segfault\\|mce'", "drover get ID --command"],
    mend: "Where it comes again, upgrade QEMU or change the option that provokes it. Where it comes on one host only, test that host's memory and take it out of service meanwhile: `drover hosts`.",
  },
  qemu_killed: {
    sees: "QEMU ended by SIGKILL, or says `terminating on signal 15 from pid N`: the line names the process that sent it.",
    why: "Somebody or something ended it from outside: the kernel's out-of-memory killer, `systemctl stop` or `kill` of a whole unit, a person, a cleaning script.",
    look: "Who it was:",
    commands: [
      "journalctl -k | grep -i 'killed process'",
      "ps -o pid,args -p N",
      "systemctl show drover-worker -p KillMode -p OOMPolicy",
    ],
    mend: "A unit needs `KillMode=process` and `OOMPolicy=continue`, so that VMs outlive their worker ([operate.md](operate.md)). Where memory was short, see `memory_exhausted`.",
  },
  qemu_unresponsive: {
    sees: "QEMU lives and does not answer on its monitor; the log says `unresponsive`.",
    why: "The host is overloaded or swaps, its storage hangs (a network file system that is gone), or QEMU waits for a device.",
    look: "The load, and what QEMU waits for (state `D` is storage):",
    commands: ["uptime && vmstat 1 3", "ps -o pid,stat,wchan:30,args -C qemu-system-x86_64"],
    mend: "Lower MANAGER_MAX_VMS or DROVER_MAX_BOOTS, mend the storage, or raise DROVER_QMP_TIMEOUT on slow hosts. A VM that runs is never ended for that: it keeps its place and is asked again.",
  },
  qemu_vanished: {
    sees: "The worker was not there when QEMU ended, and nothing is left that says why.",
    why: "QEMU crashed or was killed while no worker ran, or during its start.",
    look: "What the kernel and the unit noted in the time between the two workers:",
    commands: ["journalctl -k --since -2h | grep -i 'qemu\\|oom'", "journalctl -u drover-worker --since -2h"],
    mend: "The VM is tried again. If it happens at every restart of the worker, the unit ends its VMs: see `KillMode` in [operate.md](operate.md).",
  },
} as const satisfies Partial<Record<CauseCode, Trouble>>;
