import type { CauseCode } from "../causes.ts";
import type { Trouble } from "./trouble.ts";

/** Workers that go or die, requests, secrets, and drover itself. */
export const FLEET_TROUBLES = {
  host_shutdown: {
    sees: "`the machine was restarted`, or a signal of the system's shutdown. The VM is queued again.",
    why: "The machine was restarted or switched off with VMs on it.",
    look: "When it began, and who asked for it:",
    commands: ["last -x reboot shutdown | head", "journalctl --list-boots | tail -3"],
    mend: "Next time drain the host first, so that its VMs end by themselves or go elsewhere in good order ([operate.md](operate.md)).",
  },
  host_lost: {
    sees: "The VM went back to the queue after DROVER_HOST_LOST_AFTER, or the guard of its host ended it.",
    why: "The worker was dead, hung or cut off from Redis for too long, and the host's policy is `rerun`.",
    look: "How the host stands, and what its guard did:",
    commands: ["drover hosts", "cat /var/lib/drover/guard/guard.log"],
    mend: "Start the worker again. Where whole hosts are lost now and then and come back, raise DROVER_HOST_LOST_AFTER. A host that is gone for good is forgotten with `drover hosts forget`.",
  },
  worker_crashed: {
    sees: "The worker died while it launched this VM; its next start undid the launch. No attempt was used.",
    why: "The worker was killed (memory, a signal to the whole unit) or has a bug.",
    look: "Its last lines, and whether the kernel killed it:",
    commands: ["journalctl -u drover-worker -n 100", "journalctl -k | grep -i 'killed process'"],
    mend: "Nothing for the VM. Where it happens again, report it with the log.",
  },
  poisoned: {
    sees: "Three workers died within ten minutes while they launched this very VM.",
    why: "Something in this request brings workers down, or it was in the wrong place at the wrong time: workers that die for another reason take what they launch with them.",
    look: "The logs of those workers (`drover get ID` names the hosts), and whether other VMs were launched in the same moments:",
    commands: ["drover get ID", "journalctl -u drover-worker --since -1h"],
    mend: "Find out why the workers died before you retry it: it is launched alone then, so that a next death can only be its own doing.",
  },
  spec_invalid: {
    sees: "The message names a field of the request.",
    why: "The host cannot make a VM of it: the request asks for what its configuration does not have, or its job was written by a version that this worker cannot read.",
    look: "The request as it was taken:",
    commands: ["drover get ID --json"],
    mend: "Mend the request and submit it again; or upgrade the worker where the API is newer.",
  },
  secret_unreadable: {
    sees: "`the sealed secrets are gone from Redis`, or that no key of this host opens them.",
    why: "The worker does not have the key that the API sealed with: it was changed on one side only, or the file cannot be read. Or the secrets' time was over (DROVER_KEEP_FAILED_SECRETS).",
    look: "Which keys both sides have, by their ids ([keys.md](keys.md)):",
    commands: ["drover key ls", "drover doctor"],
    mend: "Give the worker all keys that are in use, then retry. What is deleted cannot be had again: submit the request anew.",
  },
  queue_timeout: {
    sees: "The VM is `expired`: it was not launched within its `queueTimeout`.",
    why: "Too few slots for what is asked, hosts that are paused or cordoned, or no host at all that serves what the request needs.",
    look: "Which hosts live and how full they are; `drover get ID` of a VM that still waits says why it does:",
    commands: ["drover hosts", "drover ls --state queued"],
    mend: "Add hosts or slots, mend what keeps hosts from fetching (`drover failures`), or raise `queueTimeout`.",
  },
  internal: {
    sees: "A message that none of drover's own texts explains, and `a launch failed in an unforeseen way` in the worker's log.",
    why: "drover met something that it does not know. That is a bug.",
    look: "The log line has the whole error:",
    commands: ["journalctl -u drover-worker -p err -n 20", "drover get ID --forensics"],
    mend: "Report it with that line and the version (`drover version`). The VM is tried again after its backoff.",
  },
} as const satisfies Partial<Record<CauseCode, Trouble>>;
