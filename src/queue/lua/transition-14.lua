#!lua flags=allow-oom
--[[ TRANSITION: the owner of a launch moves its VM; state and event together. A final move gives the port back and
  settles what else Redis holds for the VM.
  KEYS[1] record   KEYS[2] events   KEYS[3] prefix of the state sets   KEYS[4] mark   KEYS[5] job   KEYS[6] deadlines
  KEYS[7] expiry   KEYS[8] box   KEYS[9] tail   KEYS[10] console   KEYS[11] ports   KEYS[12] ports-lru
  KEYS[13] ports-aside   KEYS[14] pending-jobs
  ARGV[1] { vmId, host, epoch, token, to, from, launch, nonce, fields, range, event = { type, data }, progress, eventsMax,
            deadlineMs? (TTL that starts now if it has not started yet),
            leave? = { holder, keepMs?, box = "keep" | "delete" | milliseconds to keep, tail? = { console, qemu },
                       forensics? = { field, text }, final } }
  `nonce` makes a resent command harmless. `leave` is given when the host holds nothing of the VM any more.
  Returns { code, state, free ports }: 1 done, -1 no record, -2 not the owner, -3 state does not allow it, -4 marked. ]]
--#include record
--#include ports
--#include failures
local args = cjson.decode(ARGV[1])
local now = nowMs()
local function reply(code, state)
  return { code, state, freePorts(KEYS[11], KEYS[13], args.range, now) }
end
local record = redis.call("HMGET", KEYS[1], "state", "host", "epoch", "token", "lastMove", "deadlineAtMs", "seq")
local state = record[1]
if not state then return reply(-1, "") end
if record[5] == args.nonce then return reply(1, state) end
if record[2] ~= args.host or tonumber(record[3]) ~= args.epoch or record[4] ~= args.token then return reply(-2, state) end
if not contains(args.from, state) then return reply(-3, state) end
if args.launch and redis.call("EXISTS", KEYS[4]) == 1 then return reply(-4, state) end

if state == "failed" then leaveFailed(KEYS[1], KEYS[3], args.vmId) end
setState(KEYS[1], KEYS[3], args.vmId, state, args.to, now)
redis.call("HSET", KEYS[1], "lastMove", args.nonce)
writeFields(KEYS[1], args.fields)
if args.deadlineMs and args.deadlineMs ~= cjson.null and not record[6] then
  local deadline = now + args.deadlineMs
  redis.call("HSET", KEYS[1], "firstRunningAtMs", digits(now), "deadlineAtMs", digits(deadline))
  redis.call("ZADD", KEYS[6], deadline, "t:" .. args.vmId)
end

local leave = args.leave
if leave and leave ~= cjson.null then
  -- By what is held, not by what somebody remembers: a crash may have come between a change of port and its note.
  local held = redis.call("HGET", KEYS[11], "v:" .. args.vmId)
  if held then givePort(KEYS[11], KEYS[12], held, args.vmId, leave.holder) end
  redis.call("HDEL", KEYS[1], "port", "address")
  redis.call("DEL", KEYS[10])
  if leave.tail and leave.tail ~= cjson.null then
    redis.call("HSET", KEYS[9], "console", leave.tail.console, "qemu", leave.tail.qemu)
  end
  if leave.forensics and leave.forensics ~= cjson.null then
    redis.call("HSET", KEYS[9], leave.forensics.field, leave.forensics.text)
  end
  if leave.box == "delete" then
    redis.call("DEL", KEYS[8])
  elseif leave.box ~= "keep" then
    redis.call("PEXPIRE", KEYS[8], leave.box)
  end
  if leave.final then
    redis.call("HSET", KEYS[1], "endedAtMs", digits(now))
    redis.call("ZREM", KEYS[6], "t:" .. args.vmId, "q:" .. args.vmId)
    redis.call("ZREM", KEYS[14], args.vmId)
    redis.call("ZADD", KEYS[7], now + leave.keepMs, args.vmId)
  end
  local cause = args.fields.cause
  if args.to == "failed" then
    noteFailed(KEYS[1], KEYS[3], args.vmId, now)
  elseif (args.to == "queued" or args.to == "retrying") and cause and cause ~= cjson.null then
    noteRetried(KEYS[1], KEYS[3], args.vmId, cause, args.host, now)
  end
end

showProgress(KEYS[5], args.progress)
emit(KEYS[1], KEYS[2], args.vmId, args.event.type, args.event.data, args.eventsMax, now)
return reply(1, args.to)
