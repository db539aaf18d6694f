import { type Mutant, tests } from "./mutant.ts";

const store = tests("redis", "redis/launch-store");
const barred = tests("redis", "redis/barred-launches");
const ownership = tests("redis", "redis/ownership");
const reaper = tests("redis", "redis/reaper");
const lostReplies = tests("redis", "redis/lost-replies");

const TRANSITION = "src/queue/lua/transition-14.lua";
const PREPARE = "src/queue/lua/prepare-12.lua";
const CLAIM = "src/queue/lua/claim-6.lua";
const REASSERT = "src/queue/lua/reassert-19.lua";
const TAKE_BACK = "src/queue/lua/include/takeback.lua";

/** Breaks of the scripts in Redis. */
export const SCRIPT_MUTANTS: readonly Mutant[] = [
  {
    name: "TRANSITION does not compare the token",
    file: TRANSITION,
    before: " or record[4] ~= args.token then return reply(-2, state) end",
    after: " then return reply(-2, state) end",
    killers: [
      store("a move under another token"),
      ownership("after a claim nothing of the worker before has any effect"),
    ],
    why: "a dead worker's command that arrives late would move a VM that the next one has taken over",
  },
  {
    name: "TRANSITION does not compare the epoch",
    file: TRANSITION,
    before: " or tonumber(record[3]) ~= args.epoch",
    after: "",
    killers: [store("a move under another token, an older epoch")],
    why: "an older launch would speak for a newer one",
  },
  {
    name: "TRANSITION moves without its event",
    file: TRANSITION,
    before: "emit(KEYS[1], KEYS[2], args.vmId, args.event.type, args.event.data, args.eventsMax, now)\n",
    after: "",
    killers: [store("a VM goes from accept through fetch")],
    why: "state and event change together or not at all",
  },
  {
    name: "TRANSITION does not look at the removal mark",
    file: TRANSITION,
    before: 'if args.launch and redis.call("EXISTS", KEYS[4]) == 1 then return reply(-4, state) end\n',
    after: "",
    killers: [barred("a VM whose removal was asked for does not come to running")],
    why: "a VM would run after its removal was asked for",
  },
  {
    name: "TRANSITION ignores that it has run already",
    file: TRANSITION,
    before: "if record[5] == args.nonce then return reply(1, state) end\n",
    after: "",
    killers: [lostReplies("'a move': a lost reply")],
    why: "a command that is sent again after a lost reply would be refused, and the launch fail",
  },
  {
    name: "TRANSITION moves from any state",
    file: TRANSITION,
    before: "if not contains(args.from, state) then return reply(-3, state) end\n",
    after: "",
    killers: [store("a move under another token, an older epoch or from a state that does not allow it")],
    why: "what has ended would come to life again",
  },
  {
    name: "PREPARE does not compare the lock",
    file: PREPARE,
    before: ' or redis.call("GET", KEYS[10] .. ":lock") ~= args.token then',
    after: " then",
    killers: [store("a fetch by another host is fenced")],
    why: "a fetch that was given back, or taken over, would be launched all the same",
  },
  {
    name: "PREPARE launches what has ended",
    file: PREPARE,
    before: "if not contains(args.from, state) then return { -3, 0, free } end\n",
    after: "",
    killers: [barred("the job of a VM that has ended takes no launch")],
    why: "a VM that was announced as ended would run again",
  },
  {
    name: "CLAIM leaves the old token in the lock",
    file: CLAIM,
    before: 'redis.call("SET", KEYS[6], args.token, "PX", digits(args.lockMs))\nif not prepared then',
    after: "if not prepared then",
    killers: [ownership("after a claim nothing of the worker before has any effect")],
    why: "the worker before could settle the job of a VM that runs",
  },
  {
    name: "CLAIM leaves the old token in the record",
    file: CLAIM,
    before: 'redis.call("HSET", KEYS[1], "token", args.token)\n',
    after: "",
    killers: [ownership("after a claim nothing of the worker before has any effect")],
    why: "the worker before could move the record, and the next one could not",
  },
  {
    name: "CLAIM takes what another state directory has",
    file: CLAIM,
    before: 'job[1] ~= args.host or not ofThisState(redis.call("GET", KEYS[6])) or',
    after: "job[1] ~= args.host or",
    killers: [ownership("a VM whose job is locked by another state directory is nobody's to claim")],
    why: "two machines with one host id would own one VM",
  },
  {
    name: "REASSERT ignores that a higher epoch exists",
    file: REASSERT,
    before: 'if epoch > args.epoch then return { "superseded", digits(epoch) } end\n',
    after: "",
    killers: [ownership("a VM that runs elsewhere in a higher epoch is not told again")],
    why: "a host that comes back would take the VM from the host that runs it now",
  },
  {
    name: "REASSERT brings back what has ended",
    file: REASSERT,
    before: 'if state and contains(args.final, state) and not retried then return { "final", digits(epoch) } end\n',
    after: "",
    killers: [ownership("a VM that has ended is not told again")],
    why: "a final record is final",
  },
  {
    name: "REASSERT leaves the job in `prioritized`",
    file: REASSERT,
    before: "for key = 7, 11 do",
    after: "for key = 8, 11 do",
    killers: [ownership("a live VM of which Redis has lost the fetch: the job waits in its class")],
    why: "another host would fetch a VM that runs here",
  },
  {
    name: "REAP ignores the owner's lease",
    file: "src/queue/lua/reap-20.lua",
    before: 'holder.stateId == args.stateId then return "alive" end',
    after: "holder.stateId == args.stateId then lease = nil end",
    killers: [reaper("a lease that comes back between look and script keeps the VM")],
    why: "a host that is back would lose its VMs to another, and both would run them",
  },
  {
    name: "REAP does not compare who fetched the job, and how often",
    file: TAKE_BACK,
    before: '  if job[1] ~= args.host or tonumber(job[2] or "0") ~= args.ats then return "changed" end\n',
    after: "",
    killers: [reaper("so does one that moved job or record")],
    why: "a launch that began after the reaper looked would be taken from its host",
  },
  {
    name: "REAP requeues a VM whose record is final",
    file: TAKE_BACK,
    before: "  if contains(args.final, state) then\n",
    after: "  if false then\n",
    killers: [reaper("a VM whose record is final is only settled")],
    why: "a VM that was announced as ended would run again",
  },
  {
    name: "REAP does not count a poisoned launch",
    file: TAKE_BACK,
    before: "  if #crashes >= args.poison.crashes then\n",
    after: "  if false then\n",
    killers: [reaper("the third worker that dies with a VM that is starting was one too many")],
    why: "one VM would kill every worker of the fleet, one after the other",
  },
  {
    name: "LEASE_TAKE does not compare",
    file: "src/queue/lua/lease-take-3.lua",
    before: "if holder and holder ~= args.lease then return",
    after: "if false then return",
    killers: [
      tests("redis", "redis/host-lease")("another machine with the same id is held off"),
      tests("redis", "redis/host-lease")("of many that take one host id at the same moment"),
    ],
    why: "two workers would be one host",
  },
  {
    name: "JOB_ADDED leaves the job of a removed VM in the queue",
    file: "src/queue/lua/job-added-5.lua",
    before: "local ended = not record[1] or contains(args.final, record[1])",
    after: "local ended = not record[1]",
    killers: [tests("redis", "redis/ghost-jobs")("a job that comes after its VM was removed goes again")],
    why: "a job without a VM would be fetched for ever",
  },
  {
    name: "a port is given back by whoever asks",
    file: "src/queue/lua/include/ports.lua",
    before: 'if redis.call("HGET", portsKey, "p:" .. port) ~= holder then return 0 end',
    after: 'if not redis.call("HGET", portsKey, "p:" .. port) then return 0 end',
    killers: [tests("redis", "redis/port-slots")("only the holder gives a port back")],
    why: "two VMs would share a port",
  },
];
