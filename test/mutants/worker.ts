import { type Mutant, tests } from "./mutant.ts";

const endOrder = tests("unit", "unit/worker/end-order");
const recover = tests("unit", "unit/worker/recover");
const workerStop = tests("unit", "unit/worker/worker-stop");
const leaseKeeper = tests("unit", "unit/worker/lease-keeper");
const guardKeeper = tests("unit", "unit/worker/guard-keeper");

const RUN_VM = "src/worker/run-vm.ts";
const END_VM = "src/worker/end-vm.ts";
const RECOVER = "src/worker/recover.ts";
const PLANNED = '  await failPoints.reach("L12a-planned", launch.spec.name);\n';
const IN_ORDER = endOrder("an end goes its way in one order");
const UNTIL_DEAD = endOrder("until the process is proved dead nothing of the VM is given away");

/** Breaks of the worker. */
export const WORKER_MUTANTS: readonly Mutant[] = [
  {
    name: "a port is given back before its process is dead",
    file: RUN_VM,
    before: PLANNED,
    after: `${PLANNED}  if (launch.port !== undefined) await deps.launches.givePort(launch.identity, launch.port);\n`,
    killers: [IN_ORDER, UNTIL_DEAD],
    why: "the next VM would get a port that a QEMU still has bound",
  },
  {
    name: "secrets are removed before the process is dead",
    file: RUN_VM,
    before: PLANNED,
    after: `${PLANNED}  await deps.files.removeSecrets(launch.paths);\n`,
    killers: [IN_ORDER, UNTIL_DEAD],
    why: "a QEMU that still lives holds them; that they are gone must mean that nothing of the VM runs",
  },
  {
    name: "QEMU is ended before the plan is on disk",
    file: RUN_VM,
    before: "  const outputs = hand.masked(await lastOutputs(deps, launch, hand));\n",
    after:
      "  const outputs = hand.masked(await lastOutputs(deps, launch, hand));\n" +
      "  await hand.qemu?.stop({ bounds: { ...deps.config.stop, powerdownMs: 0 } });\n",
    killers: [IN_ORDER],
    why: "after a crash in between nobody would know how the guest ended: a good end would become a failure",
  },
  {
    name: "the local record is deleted before the job is settled",
    file: END_VM,
    before:
      "    await settleJob(claims, launch, published);\n" +
      '    await failPoints.reach("L12e-settled", name);\n' +
      "    await files.removeDirectory(launch.paths);\n",
    after: "    await files.removeDirectory(launch.paths);\n    await settleJob(claims, launch, published);\n",
    killers: [IN_ORDER],
    why: "after a crash in between the job would be active and nobody's",
  },
  {
    name: "an end that was decided is decided anew after a crash",
    file: RECOVER,
    before: "  if (plan !== undefined) return runs.finish(launch, plan, process);\n",
    after: "",
    killers: [endOrder("an end that was decided is finished as decided")],
    why: "the same launch would end twice, in two ways",
  },
  {
    name: "a VM of which Redis knows nothing is ended",
    file: RECOVER,
    before: '    if (told.kind === "final" || told.kind === "superseded")\n',
    after: "    if (told.kind !== undefined)\n",
    killers: [recover("is told again to a Redis that knows nothing of it")],
    why: "what Redis has merely forgotten is reasserted; a VM is stopped on positive evidence only",
  },
  {
    name: "a VM that counts no more runs on",
    file: RECOVER,
    before: '    if (told.kind === "final" || told.kind === "superseded")\n',
    after: "    if (told.kind === undefined)\n",
    killers: [recover("is ended only when Redis knows better: 'superseded'")],
    why: "two copies would run for ever",
  },
  {
    name: "a claim is made before its token is on disk",
    file: RECOVER,
    before: "  const local = await withNewToken(deps, found, paths);\n",
    after: "  const local = { ...found, token: deps.host.newToken() };\n",
    killers: [recover("is taken over under a token that is on disk before Redis hears of it")],
    why: "a crash in between would leave a lock that nobody can prove to be his",
  },
  {
    name: "a recorded pid counts across a restart of the machine",
    file: RECOVER,
    before: "startTimeTicks !== null && bootId === host.bootId",
    after: "startTimeTicks !== null && bootId !== undefined",
    killers: [recover("when the machine was started anew since, and is not touched")],
    why: "a stranger would be taken for the VM, and killed with it",
  },
  {
    name: "a job that the record never heard of goes back while its process lives",
    file: RECOVER,
    before: "    if (process !== undefined) await machine.end(process, 0); // a copy that the record never heard of\n",
    after: "",
    killers: [recover("whose launch the record never heard of is ended before the job goes back")],
    why: "two copies would run",
  },
  {
    name: "a stop by SIGTERM stops the VMs",
    file: "src/worker/worker-stop.ts",
    before: "isKept ? this.#leaveVms() : this.#endVms()",
    after: "this.#endVms()",
    killers: [workerStop("a worker that stops leaves its VMs as they are")],
    why: "an upgrade of drover must not be felt by any VM",
  },
  {
    name: "a worker that leaves VMs behind does not say for how long",
    file: "src/worker/stay-alive.ts",
    before: "lease.leave(left === 0 ? 0 : awayMaxMs)",
    after: "lease.leave(0)",
    killers: [workerStop("a worker that stops leaves its VMs as they are")],
    why: "an upgrade that takes minutes would end in VMs that run elsewhere",
  },
  {
    name: "workers that die in one VM's launches are not counted",
    file: "src/worker/end-plan.ts",
    before: 'cause.code === "worker_crashed" && recentCrashes(facts).length >= POISON_CRASHES',
    after: "facts.crashes.length > Number.MAX_SAFE_INTEGER",
    killers: [tests("unit", "unit/worker/poison")("one death too many in a VM's launches is the VM's doing")],
    why: "one VM would kill its host's worker for ever",
  },
  {
    name: "the lease is renewed though the worker's loop stands still",
    file: "src/worker/lease-keeper.ts",
    before: "      if (!this.#noteTurning(isTurning())) continue;\n",
    after: "      this.#noteTurning(isTurning());\n",
    killers: [leaseKeeper("while the worker's loop does not turn nothing is renewed")],
    why: "a worker that hangs would hold its VMs, and its lease, for ever",
  },
  {
    name: "a lease counts from when the answer came",
    file: "src/worker/lease-keeper.ts",
    before: "    return sentAt + ttlMs - ttlMs / MARGIN_SHARE;\n",
    after: "    return this.#options.clock.monotonicMs() + ttlMs - ttlMs / MARGIN_SHARE + 0 * sentAt;\n",
    killers: [leaseKeeper("a renewal counts from when it was sent")],
    why: "on a slow Redis the host would rely on a lease that has lapsed",
  },
  {
    name: "a worker fetches without a valid lease",
    file: "src/worker/start-worker.ts",
    before: "      lease.isSurelyValid() &&\n",
    after: "",
    killers: [tests("e2e", "e2e/fetch-gates")("a worker that cannot renew its lease fetches nothing")],
    why: "a host that others take for lost would begin launches",
  },
  {
    name: "the guard never acts",
    file: "src/worker/guard/watch-deadline.ts",
    before: "    if (deadlineMs !== undefined && leftMs <= 0) {\n",
    after: "    if (deadlineMs !== undefined && leftMs <= Number.NEGATIVE_INFINITY) {\n",
    killers: [tests("qemu", "qemu/guard")("a live worker's VMs are left alone; a killed one's are ended")],
    why: "a dead worker's VMs would run twice",
  },
  {
    name: "the guard acts when others may already launch",
    file: "src/worker/guard/guard-link.ts",
    before: "  return Math.min(MARGIN_MAX_MS, afterMs / MARGIN_PART);\n",
    after: "  return Math.min(MARGIN_MAX_MS, afterMs / MARGIN_PART) * 0;\n",
    killers: [
      guardKeeper("the guard acts a good while before others may"),
      guardKeeper("the deadline counts from when the renewal was sent"),
    ],
    why: "for a moment two copies would run",
  },
  {
    name: "a worker that dies has given its VMs more time than others give it",
    file: "src/worker/guard-keeper.ts",
    before: "uptimeMs() - this.#renewMs",
    after: "uptimeMs()",
    killers: [guardKeeper("a turn gives the VMs no longer than the renewal before it")],
    why: "where renewals are seldom, others would launch the VMs before the guard has ended them",
  },
  {
    name: "a worker that is cut off keeps its VMs under `stop`",
    file: "src/worker/guard-keeper.ts",
    before: '    if (this.#policy.onPartition === "keep") await',
    after: "    await",
    killers: [guardKeeper("with `stop`, a loop that turns moves the deadline")],
    why: "`stop` promises that nothing runs twice, also when a host is cut off",
  },
];
