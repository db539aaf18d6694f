#!lua flags=allow-oom
--[[ REMOVE: writes the removal mark, which is permanent for the vmId, and takes a waiting VM out of the queue in the
  same script. A VM that a host has is only marked: the host proves its end. Removing twice is not an error.
  KEYS[1] record   KEYS[2] events   KEYS[3] prefix of the state sets   KEYS[4] mark   KEYS[5] job   KEYS[6] wait
  KEYS[7] prioritized   KEYS[8] delayed   KEYS[9] completed   KEYS[10] deadlines   KEYS[11] expiry   KEYS[12] box
  KEYS[13] pending-jobs   KEYS[14] console   KEYS[15] paused
  ARGV[1] { vmId, reason, by, force, keepMs, eventsMax, final = states, waiting = states, returnvalue, progress,
            waitingOnly? (a VM that a host has is left alone) }
  Returns { "not_found" | "removed" | "marked" | "final" | "not_due", host or "" } ]]
--#include record
--#include failures
local args = cjson.decode(ARGV[1])
local now = nowMs()
local record = redis.call("HMGET", KEYS[1], "state", "host")
local state = record[1]
if not state then return { "not_found", "" } end
if args.waitingOnly and not contains(args.waiting, state) then return { "not_due", "" } end

local function encodedMark(reason, by, atMs)
  return '{"reason":' .. cjson.encode(reason) .. ',"by":' .. cjson.encode(by) .. ',"atMs":' .. atMs
    .. ',"force":' .. tostring(args.force) .. "}"
end

local mark = redis.call("GET", KEYS[4])
if not mark and args.reason ~= "requested" then
  -- A time limit ends by this clock only: one host's fast clock must not end everybody's VMs.
  local due = redis.call("ZSCORE", KEYS[10], (args.reason == "ttl" and "t:" or "q:") .. args.vmId)
  if not due or tonumber(due) > now then return { "not_due", "" } end
end
if mark and args.force then
  local earlier = cjson.decode(mark)
  redis.call("SET", KEYS[4], encodedMark(earlier.reason, earlier.by, digits(earlier.atMs)))
end
if not mark then
  if contains(args.final, state) and (args.reason ~= "requested" or state ~= "failed") then return { "final", "" } end
  local removal = { reason = args.reason, by = args.by }
  local encoded = encodedMark(args.reason, args.by, digits(now))
  redis.call("SET", KEYS[4], encoded)
  redis.call("HSET", KEYS[1], "removal", encoded)
  emit(KEYS[1], KEYS[2], args.vmId, "vm.removal_requested", cjson.encode(removal), args.eventsMax, now)
end
if contains(args.final, state) then
  redis.call("DEL", KEYS[12]) -- a failed VM: it can no longer be retried, so its secrets go
  leaveFailed(KEYS[1], KEYS[3], args.vmId)
  return { "final", "" }
end
if not contains(args.waiting, state) then return { "marked", record[2] or "" } end

local taken = redis.call("ZREM", KEYS[7], args.vmId) + redis.call("ZREM", KEYS[8], args.vmId)
if taken == 0 then taken = redis.call("LREM", KEYS[6], 1, args.vmId) + redis.call("LREM", KEYS[15], 1, args.vmId) end
local exists = redis.call("EXISTS", KEYS[5]) == 1
if taken == 0 and exists then
  return { "marked", redis.call("HGET", KEYS[5], "pb") or "" } -- just fetched: PREPARE will see the mark
end
local reason = cjson.decode(redis.call("GET", KEYS[4])).reason
local to = reason == "requested" and "removed" or "expired"
setState(KEYS[1], KEYS[3], args.vmId, state, to, now)
redis.call("HSET", KEYS[1], "endedAtMs", digits(now), "endReason", reason)
redis.call("DEL", KEYS[12], KEYS[14])
redis.call("ZREM", KEYS[10], "q:" .. args.vmId, "t:" .. args.vmId)
redis.call("ZREM", KEYS[13], args.vmId)
redis.call("ZADD", KEYS[11], now + args.keepMs, args.vmId)
if exists then -- the dashboard lists it under Completed, as every VM that ended as asked
  redis.call("HSET", KEYS[5], "finishedOn", digits(now), "returnvalue", args.returnvalue, "progress", args.progress)
  redis.call("ZADD", KEYS[9], now, args.vmId)
end
emit(KEYS[1], KEYS[2], args.vmId, "vm." .. to, cjson.encode({ reason = reason }), args.eventsMax, now)
return { "removed", "" }
