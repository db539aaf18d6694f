import { type CloudEvent, EVENT_CATALOGUE, type VmEventData, type VmEventType } from "../../contract/vm-event.ts";
import { formatSpan } from "./age.ts";

const UNVERIFIED = "its host was forgotten, nobody has seen it end";

/** One sentence for each type of event. */
const TEXTS: { readonly [T in VmEventType]: (data: VmEventData<T>) => string } = {
  "vm.queued": ({ pool, reason, cause, delayMs }) => {
    const why = {
      accepted: `in pool ${pool}`,
      requeued: "again",
      released: "again",
      retried_by_hand: "again, by hand",
      host_lost: "again, its host is lost",
      host_forgotten: "again, its host was forgotten",
    }[reason];
    return joined([
      why,
      cause && `${cause.code}: ${cause.message}`,
      delayMs && `not before ${formatSpan(delayMs)} from now`,
    ]);
  },
  "vm.preparing": ({ host, port, epoch }) => joined([`host ${host}`, `port ${port}`, launchNumber(epoch)]),
  "vm.port_changed": ({ port, setAside }) => `port ${port} (${setAside} is taken by another process)`,
  "vm.starting": ({ pid }) => `QEMU is process ${pid}`,
  "vm.running": ({ address, port, bootMs }) => `at ${address}:${port} after ${formatSpan(bootMs)}`,
  "vm.ready": ({ readyMs }) => `after ${formatSpan(readyMs)}`,
  "vm.adopted": ({ host, epoch, pid }) =>
    joined([`by a new worker of ${host}`, `QEMU is process ${pid}`, launchNumber(epoch)]),
  "vm.reasserted": ({ host, lost }) => joined([`by host ${host}`, lost]),
  "vm.copy_stopped": ({ host, epoch, currentEpoch }) => `launch ${epoch} on ${host}; launch ${currentEpoch} counts`,
  "vm.removal_requested": ({ reason, by }) =>
    ({ requested: `by ${by}`, ttl: "its time limit passed", queue_timeout: "it waited too long" })[reason],
  "vm.stopping": ({ reason }) => reason,
  "vm.retrying": ({ cause, attempt, attempts, delayMs }) =>
    joined([
      `attempt ${attempt} of ${attempts} failed with ${cause.code}: ${cause.message}`,
      `next in ${formatSpan(delayMs)}`,
    ]),
  "vm.completed": ({ reason, exitCode }) => joined([reason, exitCode !== null && `exit code ${exitCode}`]),
  "vm.removed": ({ reason, unverified }) => joined([reason, unverified && UNVERIFIED]),
  "vm.expired": ({ reason, unverified }) =>
    joined([
      { ttl: "its time limit passed", queue_timeout: "it waited too long in the queue" }[reason],
      unverified && UNVERIFIED,
    ]),
  "vm.failed": ({ cause, exitCode }) =>
    joined([
      `${cause.code}: ${cause.message}`,
      exitCode !== null && cause.code !== "computation_failed" && `exit code ${exitCode}`, // whose message has it
    ]),
  "batch.accepted": ({ name, total }) => joined([`${total} VMs`, name]),
  "batch.completed": ({ outcome, total, completed, failed }) =>
    joined([outcome, `${completed} of ${total} completed`, failed > 0 && `${failed} failed`]),
};

/** What an event says, for people. Data of a newer version is shown as it came. */
export function eventText(event: CloudEvent): string {
  return textOf(event.type, event.data);
}

/** What every event's word fits into. */
export const EVENT_WORD_CHARS = 12;

/** The word of an event's type: "vm.port_changed" -> "port changed". */
export function eventWord(event: CloudEvent): string {
  if (event.type === "vm.removal_requested") return "removal";
  return event.type.replace(/^vm\./, "").replaceAll("_", " ");
}

function textOf<T extends VmEventType>(type: T, data: unknown): string {
  const parsed = EVENT_CATALOGUE[type].data.safeParse(data);
  // The catalogue and this table have the same keys; the compiler does not see that schema and text belong together.
  return parsed.success ? TEXTS[type](parsed.data as VmEventData<T>) : JSON.stringify(data);
}

function launchNumber(epoch: number): string | false {
  return epoch > 1 && `launch ${epoch}`;
}

function joined(parts: readonly (string | false | 0 | undefined)[]): string {
  return parts.filter((part) => typeof part === "string" && part !== "").join(", ");
}
