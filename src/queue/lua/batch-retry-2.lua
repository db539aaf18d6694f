#!lua
--[[ BATCH_RETRY: failed items are listed again, for a feeder to put their VMs back into the queue. What has failed so far
  and is not among them counts no longer for the bound of failures.
  KEYS[1] batch   KEYS[2] events
  ARGV[1] { batchId, items = indexes, in order, nonce }
  `nonce` makes a resent command harmless.
  Returns how many were listed, or -1: no such batch, -2: it is being cancelled. ]]
--#include record
local args = cjson.decode(ARGV[1])
local now = nowMs()
local prefix = prefixOf(KEYS[2])
local batch = redis.call("HMGET", KEYS[1], "state", "next", "lastRetry", "lastRetried")
if not batch[1] then return -1 end
if batch[3] == args.nonce then return tonumber(batch[4]) end
if batch[1] == "cancelling" then return -2 end
local listed = 0
local first
for _, index in ipairs(args.items) do
  if letterOf(KEYS[1], index) == LETTERS.failed then
    redis.call("SETRANGE", KEYS[1] .. ":states", index, LETTERS.again)
    local ended = redis.call("HGET", KEYS[1] .. ":ends", index)
    local cause = ended and cjson.decode(ended)[3] or "failed"
    redis.call("HINCRBY", KEYS[1], "c:" .. cause, -1)
    redis.call("HINCRBY", KEYS[1], "a:" .. cause, 1)
    listed = listed + 1
    first = first or index
  end
end
if listed == 0 then return 0 end
redis.call("HSET", KEYS[1], "lastRetry", args.nonce, "lastRetried", listed)
redis.call("HINCRBY", KEYS[1], "s:listed", listed)
redis.call("HSET", KEYS[1], "failedBefore", redis.call("HINCRBY", KEYS[1], "s:failed", -listed),
  "next", math.min(first, tonumber(batch[2])))
if batch[1] == "stopping" then redis.call("HSET", KEYS[1], "state", "active") end
redis.call("DEL", KEYS[1] .. ":pace")
redis.call("RPUSH", KEYS[1] .. ":pace", digits(now) .. ":" .. endedItems(KEYS[1]))
settleBatch(prefix, args.batchId, now)
makeDue(prefix, args.batchId, now)
return listed
