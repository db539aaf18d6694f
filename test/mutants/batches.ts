import { type Mutant, tests } from "./mutant.ts";

const feeder = tests("redis", "redis/batch-feeder");
const store = tests("redis", "redis/batch-store");

const BATCH = "src/queue/lua/include/batch.lua";
const FEED = "src/queue/lua/batch-feed-9.lua";

/** Breaks of batches. */
export const BATCH_MUTANTS: readonly Mutant[] = [
  {
    name: "FEED does not look how many VMs of the batch there are",
    file: FEED,
    before: "    if room < 1 then\n",
    after: "    if room < -1000 then\n",
    killers: [feeder("two feeders at once")],
    why: "a batch would take more places than it was given",
  },
  {
    name: "FEED makes VMs of items that are not listed",
    file: FEED,
    before: "  elseif letter == LETTERS.listed then",
    after: "  elseif letter ~= nil then",
    killers: [feeder("an item that is taken from the list while a feeder has it")],
    why: "what was taken from the list would run all the same",
  },
  {
    name: "a batch goes on although too many of its VMs have failed",
    file: BATCH,
    before: 'if batch[2] == "active" and batch[3] and failed >= tonumber(batch[3]) then',
    after: 'if batch[2] == "active" and batch[3] and failed > tonumber(batch[3]) + 1000 then',
    killers: [feeder("with so many failed VMs nothing further is launched")],
    why: "a mistake in a batch would cost all of its launches",
  },
  {
    name: "the end of a VM does not tell the feeders",
    file: BATCH,
    before: '  elseif batch[1] == "active" and listedItems(batchKey) > 0 then\n    makeDue(prefix, batchId, now)\n',
    after: "",
    killers: [feeder("two feeders at once")],
    why: "a free place would stay free until the next round",
  },
  {
    name: "a retry of failed VMs forgets to take them out of the failures",
    file: "src/queue/lua/batch-retry-2.lua",
    before: '    redis.call("HINCRBY", KEYS[1], "c:" .. cause, -1)\n',
    after: "",
    killers: [feeder("failed items are listed again")],
    why: "the causes of a batch would count more failures than there are",
  },
  {
    name: "COMMIT takes a batch of which something is missing",
    file: "src/queue/lua/batch-commit-12.lua",
    before: 'if redis.call("HLEN", KEYS[4]) ~= args.itemFields or',
    after: 'if redis.call("HLEN", KEYS[4]) ~= redis.call("HLEN", KEYS[4]) or',
    killers: [store("an upload that is cut off leaves nothing")],
    why: "a batch would be accepted whose items nobody has",
  },
];
