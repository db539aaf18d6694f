#!lua flags=allow-oom
--[[ BATCH_DROP: takes one item out of the list for good, before it has a VM.
  KEYS[1] batch   KEYS[2] events
  ARGV[1] { batchId, index }
  Returns "removed" | "final" (it had been taken already) | "not_listed" ]]
--#include record
local args = cjson.decode(ARGV[1])
local letter = letterOf(KEYS[1], args.index)
if letter == LETTERS.skipped or letter == LETTERS.removed then return "final" end
if letter ~= LETTERS.listed then return "not_listed" end
redis.call("HDEL", KEYS[1] .. ":boxes", args.index)
countItem(prefixOf(KEYS[2]), args.batchId, args.index, "removed", {}, nowMs())
return "removed"
