#!lua
--[[ RETRY of a failed VM by hand: attempts made start again at 0, attempts started (the epoch) never do.
  KEYS[1] record   KEYS[2] events   KEYS[3] prefix of the state sets   KEYS[4] mark   KEYS[5] job   KEYS[6] failed
  KEYS[7] prioritized   KEYS[8] pc   KEYS[9] marker   KEYS[10] box   KEYS[11] expiry   KEYS[12] tail   KEYS[13] deadlines
  ARGV[1] { vmId, eventData, eventsMax, progress, nonce, queueTimeoutMs?, within? = { batch, window } }
  `nonce` makes a resent command harmless. `within`: only while fewer VMs of the batch than the window wait or live.
  Returns "queued" | "not_found" | "not_failed" | "secrets_gone" | "marked" | "full" ]]
--#include record
--#include failures
local args = cjson.decode(ARGV[1])
local now = nowMs()
local record = redis.call("HMGET", KEYS[1], "state", "hasSecrets", "jobPriority", "lastRetry")
if not record[1] then return "not_found" end
if record[4] == args.nonce then return "queued" end
if redis.call("EXISTS", KEYS[4]) == 1 then return "marked" end
if record[1] ~= "failed" then return "not_failed" end
if redis.call("EXISTS", KEYS[5]) == 0 then return "not_found" end
if record[2] == "1" and redis.call("EXISTS", KEYS[10]) == 0 then
  return "secrets_gone"
end
local within = args.within
if within and within ~= cjson.null and liveItems(within.batch) >= within.window then return "full" end
-- The final record comes before the settling of the job, so the job may still be active for a moment.
if redis.call("ZREM", KEYS[6], args.vmId) == 0 then return "not_failed" end
redis.call("PERSIST", KEYS[10])

redis.call("HDEL", KEYS[5], "finishedOn", "processedOn", "failedReason", "stacktrace", "atm", "defa")
redis.call("HSET", KEYS[5], "progress", args.progress)
local counter = redis.call("INCR", KEYS[8])
redis.call("ZADD", KEYS[7], tonumber(record[3]) * 0x100000000 + counter % 0x100000000, args.vmId)
redis.call("ZADD", KEYS[9], 0, "0")

leaveFailed(KEYS[1], KEYS[3], args.vmId)
setState(KEYS[1], KEYS[3], args.vmId, "failed", "queued", now)
redis.call("HSET", KEYS[1], "attemptsMade", 0, "lastRetry", args.nonce)
redis.call("HDEL", KEYS[1], "cause", "result", "endedAtMs", "endReason", "retryAtMs", "runningAtMs", "readyAtMs",
  "firstRunningAtMs", "deadlineAtMs", "host", "token", "avoid", "dismissed")
redis.call("HDEL", KEYS[12], "console", "qemu") -- what is kept of its failed launches stays
redis.call("ZREM", KEYS[11], args.vmId)
if args.queueTimeoutMs and args.queueTimeoutMs ~= cjson.null then
  redis.call("ZADD", KEYS[13], now + args.queueTimeoutMs, "q:" .. args.vmId)
end
emit(KEYS[1], KEYS[2], args.vmId, "vm.queued", args.eventData, args.eventsMax, now)
return "queued"
