#!lua flags=allow-oom
--[[ PURGE: deletes an ended VM whose time is over: record, job, box, tails and indexes go together. A tombstone (the mark) and
  the idempotency key stay for a while, so that a late question gets 410 and a late resend no second VM.
  KEYS[1] record   KEYS[2] prefix of the state sets   KEYS[3] vms   KEYS[4] vms of the owner   KEYS[5] tail
  KEYS[6] console   KEYS[7] box   KEYS[8] mark   KEYS[9] expiry   KEYS[10] job   KEYS[11] completed   KEYS[12] failed
  KEYS[13] prioritized   KEYS[14] delayed   KEYS[15] wait   KEYS[16] active   KEYS[17] paused
  ARGV[1] { vmId, final, marksMs, idempotencyMs }
  Returns 1 purged, 0 not due or not final. ]]
--#include record
--#include failures
local args = cjson.decode(ARGV[1])
local now = nowMs()
local due = redis.call("ZSCORE", KEYS[9], args.vmId)
if not due or tonumber(due) > now then return 0 end
local record = redis.call("HMGET", KEYS[1], "state", "idempotencyKey", "createdAtMs", "owner")
if record[1] and not contains(args.final, record[1]) then
  redis.call("ZREM", KEYS[9], args.vmId)
  return 0
end
if record[1] then
  redis.call("ZREM", KEYS[2] .. record[1], args.vmId)
  leaveFailed(KEYS[1], KEYS[2], args.vmId)
  leaveRetried(KEYS[1], KEYS[2], args.vmId)
  if record[2] then
    local left = tonumber(record[3]) + args.idempotencyMs - now
    redis.call("PEXPIRE", record[2], digits(math.max(left, args.marksMs, 1)))
  end
end
redis.call("ZREM", KEYS[3], args.vmId)
redis.call("ZREM", KEYS[4], args.vmId)
redis.call("ZREM", KEYS[9], args.vmId)
-- Its id goes out of every list, whichever way it came there: an id without a job would be fetched for ever.
for key = 11, 14 do redis.call("ZREM", KEYS[key], args.vmId) end
for key = 15, 17 do redis.call("LREM", KEYS[key], 0, args.vmId) end
redis.call("DEL", KEYS[1], KEYS[5], KEYS[6], KEYS[7], KEYS[10], KEYS[10] .. ":logs", KEYS[10] .. ":lock")
local owner = cjson.encode(record[4] or "")
local tombstone = '{"reason":"purged","by":"drover","owner":' .. owner .. ',"atMs":' .. digits(now) .. "}"
redis.call("SET", KEYS[8], tombstone, "PX", digits(math.max(args.marksMs, 1)))
return 1
