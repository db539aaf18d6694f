#!lua flags=allow-oom
--[[ REASSERT: a live VM whose record, job or port Redis has lost, or holds an older state of, gets them back with its
  owner, epoch and token. Refused when Redis holds positive evidence against the launch: the VM has ended, or a newer
  launch of it exists. The highest epoch wins; of two with the same, the one that the record names.
  KEYS[1] record   KEYS[2] events   KEYS[3] prefix of the state sets   KEYS[4] mark   KEYS[5] job   KEYS[6] active
  KEYS[7] prioritized   KEYS[8] delayed   KEYS[9] wait   KEYS[10] failed   KEYS[11] completed   KEYS[12] vms
  KEYS[13] vms of the owner   KEYS[14] ports   KEYS[15] deadlines   KEYS[16] expiry   KEYS[17] pools
  KEYS[18] pending-jobs   KEYS[19] lock
  ARGV[1] { vmId, host, epoch, token, tokenPrefix, holder, port?, state, ranks, final, waiting, snapshot (the record as it
            was), fields, pool, deadlineAtMs?, lockMs, minSeq, eventsMax, progress, job = { name, data, opts, priority,
            attemptsMade } }
  Returns { "ours" | "reasserted" | "final" | "superseded", what was lost or the epoch that counts } ]]
--#include record
--#include failures
local args = cjson.decode(ARGV[1])
local now = nowMs()
local lost = {}
local function ofThisState(token)
  return token and string.sub(token, 1, #args.tokenPrefix) == args.tokenPrefix
end
local function given(value) return value ~= nil and value ~= cjson.null end

local record = redis.call("HMGET", KEYS[1], "state", "host", "epoch", "token")
local state = record[1]
local epoch = tonumber(record[3] or "0")
local mark = redis.call("GET", KEYS[4])
if not state and mark and cjson.decode(mark).reason == "purged" then return { "final", "0" } end
-- A failed VM may have been retried by hand since: then its end in an earlier launch says nothing against this one.
local retried = state == "failed" and epoch < args.epoch
if state and contains(args.final, state) and not retried then return { "final", digits(epoch) } end
if epoch > args.epoch then return { "superseded", digits(epoch) } end
local waits = state and contains(args.waiting, state)
if state and epoch == args.epoch and not waits and (record[2] ~= args.host or not ofThisState(record[4])) then
  return { "superseded", digits(epoch) }
end
-- The end of this very launch has been told, and only its way back into the queue is not done yet.
if waits and epoch == args.epoch and record[2] == args.host and ofThisState(record[4]) then
  return { "superseded", digits(epoch) }
end
local job = redis.call("HMGET", KEYS[5], "pb", "ats", "name")
local ats = tonumber(job[2] or "0")
local lock = redis.call("GET", KEYS[19])
local active = redis.call("LPOS", KEYS[6], args.vmId)
if active and lock and not ofThisState(lock) and ats > args.epoch then return { "superseded", digits(ats) } end

if not state then
  lost[#lost + 1] = "record"
  writeFields(KEYS[1], args.snapshot)
  redis.call("HSET", KEYS[1], "vmId", args.vmId, "state", args.state, "stateAtMs", digits(now), "seq", digits(args.minSeq))
  local createdAt = redis.call("HGET", KEYS[1], "createdAtMs") or digits(now)
  redis.call("ZADD", KEYS[3] .. args.state, createdAt, args.vmId)
  redis.call("ZADD", KEYS[12], createdAt, args.vmId)
  redis.call("ZADD", KEYS[13], createdAt, args.vmId)
  redis.call("SADD", KEYS[17], args.pool)
elseif epoch < args.epoch or record[4] ~= args.token or (args.ranks[state] or 0) < args.ranks[args.state] then
  lost[#lost + 1] = "state"
  if (args.ranks[state] or 0) < args.ranks[args.state] or epoch < args.epoch then
    leaveFailed(KEYS[1], KEYS[3], args.vmId)
    setState(KEYS[1], KEYS[3], args.vmId, state, args.state, now)
  end
end
redis.call("HSET", KEYS[1], "host", args.host, "epoch", args.epoch, "token", args.token)
-- The end of its time was set by this clock; what the host remembers was read off its own.
local deadline = redis.call("HGET", KEYS[1], "deadlineAtMs") or (given(args.deadlineAtMs) and args.deadlineAtMs)
if #lost > 0 then
  writeFields(KEYS[1], args.fields)
  if deadline then redis.call("HSET", KEYS[1], "deadlineAtMs", deadline) end
end

if not job[3] then
  redis.call("HSET", KEYS[5], "name", args.job.name, "data", args.job.data, "opts", args.job.opts, "timestamp", digits(now),
    "delay", 0, "priority", args.job.priority, "atm", args.job.attemptsMade)
end
if not job[3] or not active or job[1] ~= args.host or lock ~= args.token then
  lost[#lost + 1] = "job"
  redis.call("HSET", KEYS[5], "pb", args.host, "ats", digits(math.max(ats, args.epoch)), "processedOn", digits(now))
  for key = 7, 11 do
    if key == 9 then redis.call("LREM", KEYS[9], 0, args.vmId) else redis.call("ZREM", KEYS[key], args.vmId) end
  end
  if not active then redis.call("LPUSH", KEYS[6], args.vmId) end
end
redis.call("SET", KEYS[19], args.token, "PX", digits(args.lockMs))

-- QEMU has the port really bound: whoever else stands there holds it no more.
if given(args.port) and redis.call("HGET", KEYS[14], "p:" .. args.port) ~= args.holder then
  lost[#lost + 1] = "port"
  local other = redis.call("HGET", KEYS[14], "p:" .. args.port)
  if other then redis.call("HDEL", KEYS[14], "v:" .. string.match(other, "^[^|]*")) end
  local earlier = redis.call("HGET", KEYS[14], "v:" .. args.vmId)
  if earlier then redis.call("HDEL", KEYS[14], "p:" .. earlier) end
  redis.call("HSET", KEYS[14], "p:" .. args.port, args.holder, "v:" .. args.vmId, args.port)
  redis.call("HSET", KEYS[1], "port", args.port)
end
if #lost == 0 then return { "ours", "" } end

redis.call("ZREM", KEYS[15], "q:" .. args.vmId)
if deadline then redis.call("ZADD", KEYS[15], deadline, "t:" .. args.vmId) end
redis.call("ZREM", KEYS[16], args.vmId)
redis.call("ZREM", KEYS[18], args.vmId)
showProgress(KEYS[5], args.progress)
local what = table.concat(lost, ", ")
emit(KEYS[1], KEYS[2], args.vmId, "vm.reasserted",
  cjson.encode({ host = args.host, epoch = args.epoch, port = given(args.port) and args.port or cjson.null, lost = what,
    state = redis.call("HGET", KEYS[1], "state") }),
  args.eventsMax, now)
return { "reasserted", what }
