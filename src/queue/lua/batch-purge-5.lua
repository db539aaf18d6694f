#!lua flags=allow-oom
--[[ BATCH_PURGE: deletes a batch whose time is over. A tombstone stays for a while, so that a late resend makes no second
  batch. Its VMs go by their own time.
  KEYS[1] batch   KEYS[2] tombstone   KEYS[3] batches   KEYS[4] batches of the owner   KEYS[5] ended-batches
  ARGV[1] { batchId, keepMs, tombstoneMs }
  Returns 1 deleted, 0 not due. ]]
--#include record
local args = cjson.decode(ARGV[1])
local endedAt = redis.call("ZSCORE", KEYS[5], args.batchId)
if not endedAt or tonumber(endedAt) + args.keepMs > nowMs() then return 0 end
for _, part in ipairs({ "", ":items", ":boxes", ":states", ":ends", ":pace" }) do
  redis.call("UNLINK", KEYS[1] .. part)
end
for key = 3, 5 do redis.call("ZREM", KEYS[key], args.batchId) end
redis.call("SET", KEYS[2], "1", "PX", digits(math.max(args.tombstoneMs, 1)))
return 1
