import type { History, Violation } from "../history.ts";
import { acceptedHasAFate } from "./i01-accepted-has-a-fate.ts";
import { noGhost } from "./i02-no-ghost.ts";
import { oneMachine } from "./i03-one-machine.ts";
import { oneVmPerPort } from "./i04-one-vm-per-port.ts";
import { exactlyTheLiveSet } from "./i05-exactly-the-live-set.ts";
import { eventsTellEverything } from "./i06-events-tell-everything.ts";
import { nothingAfterTheEnd } from "./i07-nothing-after-the-end.ts";
import { withinTheSlots } from "./i08-within-the-slots.ts";
import { secretsStayInside } from "./i09-secrets-stay-inside.ts";
import { retriesAreBounded } from "./i10-retries-are-bounded.ts";
import { settlesInTime } from "./i11-settles-in-time.ts";
import { fatesAddUp } from "./i12-fates-add-up.ts";
import { noVmIsDisturbed } from "./i13-no-vm-is-disturbed.ts";

const CHECKERS = [
  acceptedHasAFate,
  noGhost,
  oneMachine,
  oneVmPerPort,
  exactlyTheLiveSet,
  eventsTellEverything,
  nothingAfterTheEnd,
  withinTheSlots,
  secretsStayInside,
  retriesAreBounded,
  settlesInTime,
  fatesAddUp,
  noVmIsDisturbed,
];

/** Everything that is wrong with a history. */
export function checkAll(history: History): Violation[] {
  return CHECKERS.flatMap((check) => check(history));
}
