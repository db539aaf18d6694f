#!lua
--[[ PREPARE: a fetched VM enters its launch: ownership is checked, a port is taken (TAKE_PORT) and the record goes to
  preparing, all or nothing. A VM with a removal mark is ended here instead.
  KEYS[1] record   KEYS[2] events   KEYS[3] prefix of the state sets   KEYS[4] mark   KEYS[5] ports   KEYS[6] ports-lru
  KEYS[7] ports-aside   KEYS[8] deadlines   KEYS[9] fairness of the pool   KEYS[10] job   KEYS[11] box   KEYS[12] expiry
  ARGV[1] { vmId, host, epoch, token, holder, from, range, fields, progress, eventsMax, keepMs, classes, classWidth }
  Returns { code, port, free, history }: 1 prepared, 0 no port, -1 no record, -2 not the owner, -3 state does not allow it,
  -4 marked: the record is final now, -5 this VM avoids the host for now.
  history is { attempts, attemptsMade, hasSecrets, launches, deadlineAtMs, avoid, crashes, trace, queuedAtMs } of a prepared VM,
  empty texts for what is not there. ]]
--#include record
--#include ports
--#include fairness
--#include failures
local args = cjson.decode(ARGV[1])
local now = nowMs()
local function history()
  local fields = redis.call("HMGET", KEYS[1], "attempts", "attemptsMade", "hasSecrets", "launches", "deadlineAtMs", "avoid",
    "crashes", "trace", "queuedAtMs")
  for i = 1, 9 do fields[i] = fields[i] or "" end
  return fields
end
local free = freePorts(KEYS[5], KEYS[7], args.range, now)
local record = redis.call("HMGET", KEYS[1], "state", "epoch", "token", "host", "jobPriority", "tag", "priority",
  "stateAtMs", "failureGroup")
local state = record[1]
if not state then return { -1, 0, free } end
local epoch = tonumber(record[2])
local mine = record[4] == args.host and epoch == args.epoch and record[3] == args.token
if state == "preparing" and mine then -- the reply was lost and the command sent again
  return { 1, tonumber(redis.call("HGET", KEYS[1], "port")), free, history() }
end
local job = redis.call("HMGET", KEYS[10], "pb", "ats")
if job[1] ~= args.host or tonumber(job[2] or "0") ~= args.epoch or redis.call("GET", KEYS[10] .. ":lock") ~= args.token then
  return { -2, 0, free }
end
if epoch >= args.epoch then return { -2, 0, free } end
if not contains(args.from, state) then return { -3, 0, free } end

-- It has had its turn: wherever it comes back from, it comes to the front of its class. So a place in the queue is never
-- older than the queue.
local class = classOf(args.classes, record[7])
local front = frontPriority(class, args.classWidth)
redis.call("HSET", KEYS[1], "jobPriority", digits(front))
redis.call("HSET", KEYS[10], "priority", digits(front))

local mark = redis.call("GET", KEYS[4])
if mark then
  local reason = cjson.decode(mark).reason
  local to = reason == "requested" and "removed" or "expired"
  setState(KEYS[1], KEYS[3], args.vmId, state, to, now)
  redis.call("HSET", KEYS[1], "endedAtMs", digits(now), "endReason", reason)
  redis.call("DEL", KEYS[11])
  redis.call("ZREM", KEYS[8], "q:" .. args.vmId, "t:" .. args.vmId)
  redis.call("ZADD", KEYS[12], now + args.keepMs, args.vmId)
  emit(KEYS[1], KEYS[2], args.vmId, "vm." .. to, cjson.encode({ reason = reason }), args.eventsMax, now)
  return { -4, 0, free }
end

local avoid = redis.call("HGET", KEYS[1], "avoid")
if avoid and (cjson.decode(avoid)[args.host] or 0) > now then return { -5, 0, free } end

local port = takePort(KEYS[5], KEYS[6], KEYS[7], args.range, args.vmId, args.holder, now)
if port < 0 then return { 0, 0, free } end
redis.call("ZREM", KEYS[8], "q:" .. args.vmId) -- only now: a VM that is put back still waits for its first launch

-- The virtual clock of the fair queue stands at the tag of what was fetched last.
local tag = tonumber(record[6] or tonumber(record[5]) - front) -- records of version 0.1.0 have no tag
local clock = tonumber(redis.call("HGET", KEYS[9], class .. ":clock") or "0")
if tag > clock then redis.call("HSET", KEYS[9], class .. ":clock", digits(tag)) end

-- One that an API of an older version has retried.
if record[9] then leaveFailed(KEYS[1], KEYS[3], args.vmId) end
setState(KEYS[1], KEYS[3], args.vmId, state, "preparing", now)
redis.call("HSET", KEYS[1], "host", args.host, "epoch", args.epoch, "token", args.token, "port", port,
  "queuedAtMs", record[8], "launchedAtMs", digits(now))
-- What an earlier launch has said of itself is in `launches`; here it would be read as this one's.
redis.call("HDEL", KEYS[1], "cause", "result", "endReason", "retryAtMs", "runningAtMs", "readyAtMs", "command", "address")
writeFields(KEYS[1], args.fields)
showProgress(KEYS[10], args.progress)
emit(KEYS[1], KEYS[2], args.vmId, "vm.preparing",
  cjson.encode({ host = args.host, epoch = args.epoch, port = port }), args.eventsMax, now)
return { 1, port, freePorts(KEYS[5], KEYS[7], args.range, now), history() }
