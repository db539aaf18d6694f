import { type Mutant, tests } from "./mutant.ts";

const wishes = tests("redis", "redis/http-host-wishes");
const board = tests("redis", "redis/http-board");
const keeper = tests("unit", "unit/worker/wish-keeper");
const stop = tests("e2e", "e2e/worker-stop");
const e2e = tests("e2e", "e2e/host-wishes");

const WISH_KEEPER = "src/worker/wish-keeper.ts";
const CORDONED = e2e("a cordoned host takes no VM");
const ONLY_TO_OTHERS = keeper("an evacuation stops the VMs that another live and open host can take");

/** Breaks of what an operator wants of a host. */
export const HOST_MUTANTS: readonly Mutant[] = [
  {
    name: "hosts: a cordoned worker fetches on",
    file: "src/worker/start-worker.ts",
    before: "      heeding.isOpen &&\n",
    after: "",
    killers: [CORDONED, e2e("a host that drains goes on doing so while Redis is away")],
    why: "a machine that is to be switched off would never be empty",
  },
  {
    name: "hosts: a worker is not woken for a wish",
    file: "src/producer/routes/host-wishes.ts",
    before: "  await gate.run(() => queue.notifyWish(id));\n",
    after: "",
    killers: [wishes("a worker is woken for a wish")],
    why: "it would fetch on until the next renewal of its lease",
  },
  {
    name: "hosts: a worker that starts does not know what is wanted of its host",
    file: WISH_KEEPER,
    before: "    this.#wish = deps.first;\n",
    after: "",
    killers: [keeper("what was wanted before the worker started")],
    why: "it would fetch in its first seconds, on a host that is cordoned",
  },
  {
    name: "hosts: what a host says of itself overwrites what is wanted of it",
    file: "src/queue/lua/lease-take-3.lua",
    before: 'redis.call("HDEL", KEYS[2], "leftAtMs")\n',
    after: 'redis.call("HDEL", KEYS[2], "leftAtMs", "wish", "wishAtMs")\n',
    killers: [wishes("a wish is told with who, when and why")],
    why: "a cordon must outlive the worker",
  },
  {
    name: "hosts: a wish that Redis lost opens the host",
    file: WISH_KEEPER,
    before: "    if (wish === undefined) {\n",
    after: "    if (wish === undefined) {\n      this.#wish = wish;\n      return;\n",
    killers: [keeper("a wish that Redis has lost stands")],
    why: "that something is missing is never a reason",
  },
  {
    name: "hosts: VMs are evacuated to a host that takes none",
    file: WISH_KEEPER,
    before: "hostId !== this.#deps.hostId && isWantedOpen(wish)",
    after: "hostId !== this.#deps.hostId",
    killers: [ONLY_TO_OTHERS],
    why: "they would be stopped to wait for a host that never comes",
  },
  {
    name: "hosts: VMs are evacuated that only this host can run",
    file: WISH_KEEPER,
    before: "hostId !== this.#deps.hostId && isWantedOpen(wish)",
    after: "isWantedOpen(wish) || hostId === this.#deps.hostId",
    killers: [ONLY_TO_OTHERS, e2e("an evacuated host's VMs run on another one")],
    why: "they would be stopped, and never launched again",
  },
  {
    name: "hosts: a drain is done before its worker has heard of it",
    file: "src/producer/host-view.ts",
    before: "done: heeded && vms === 0 &&",
    after: "done: vms === 0 &&",
    killers: [wishes("a drain or an evacuation is done when the worker has heard it")],
    why: "the worker may be fetching a VM at that very moment",
  },
  {
    name: "hosts: one that is wanted cordoned is forgotten by itself",
    file: "src/queue/lua/forget-gone-host-3.lua",
    before: 'if wish and cjson.decode(wish).kind ~= "open" then return 0 end\n',
    after: "",
    killers: [wishes("is kept in the very moment in which it is wanted otherwise")],
    why: "it would come back open",
  },
  {
    name: "hosts: a start that is given up leaves without a word",
    file: "src/worker/stay-alive.ts",
    before: "    if (lease.hasLeft) return;\n",
    after: "    if (!lease.hasLeft) return lease.stop();\n",
    killers: [stop("a worker that is told to stop while it takes its VMs over")],
    why: "under `rerun` its VMs would be launched elsewhere five minutes later",
  },
  {
    name: "hosts: the queue of a forgotten host stays",
    file: "src/queue/host-registry.ts",
    before: "    await deleteRemoveQueue(this.#redis, keys, hostId);\n    return true;\n",
    after: "    return true;\n",
    killers: [wishes("is gone, not lost, and forgotten after a day")],
    why: "a fleet of machines that come and go would fill Redis",
  },
  {
    name: "hosts: the dashboard keeps the queues of forgotten hosts",
    file: "src/queue/vm-queue.ts",
    before: "    for (const [name] of gone) this.#queues.delete(name);\n",
    after: "",
    killers: [board("queues of hosts that are forgotten disappear")],
    why: "nobody would find the hosts that are there among them",
  },
];
