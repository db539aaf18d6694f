#!lua flags=allow-oom
--[[ BATCH_CANCEL: stops the feeding at once; feeders remove the VMs that are there. Idempotent.
  KEYS[1] batch   KEYS[2] events
  ARGV[1] { batchId, by }
  Returns "not_found" | "ended" (before) | "cancelling" (or cancelled) ]]
--#include record
local args = cjson.decode(ARGV[1])
local now = nowMs()
local batch = redis.call("HMGET", KEYS[1], "state", "outcome")
if not batch[1] then return "not_found" end
if batch[1] == "cancelling" or batch[2] == "cancelled" then return "cancelling" end
if batch[1] == "ended" then return "ended" end
redis.call("HSET", KEYS[1], "removing", args.by)
stopFeeding(prefixOf(KEYS[2]), args.batchId, "cancelling", now)
settleBatch(prefixOf(KEYS[2]), args.batchId, now)
return "cancelling"
