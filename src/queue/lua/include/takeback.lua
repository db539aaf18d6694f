-- Takes a VM back from an owner that is no more: its job leaves `active` for the queue, or for its end. Shared by REAP
-- and FORGET, whose scripts first prove that there is no owner. Needs `record`, `ports`, `fairness` and
-- `failures`.
--   KEYS[1] record   KEYS[2] events   KEYS[3] prefix of the state sets   KEYS[4] mark   KEYS[5] job   KEYS[6] lock
--   KEYS[7] active   KEYS[8] prioritized   KEYS[9] pc   KEYS[10] marker   KEYS[11] completed   KEYS[12] failed
--   KEYS[13] deadlines   KEYS[14] expiry   KEYS[15] box   KEYS[16] console   KEYS[17] ports   KEYS[18] ports-lru
--   args { vmId, host, stateId, ats, lock, waiting, final, booting = states, cause, reason, queuedEvent, poison =
--          { crashes, windowMs, cause }, endMarked, unverified, launchesKept, forensicsKept, keep = { completedMs, failedMs,
--          failedSecretsMs }, classes, classWidth, eventsMax }
-- Returns what became of the VM:
--   "changed"  somebody has moved job or record since the caller looked: nothing was done
--   "no_record", "marked" (kept until its end is proved): nothing was done
--   "settled"  the record was final already: only the job was still active
--   "returned" fetched and never prepared, so that it goes back without an event
--   "queued", "failed" (poisoned), "removed", "expired"

-- The second part of a lock token `host:state directory:boot:random`; host ids hold no colon.
local function stateOf(token)
  return token and string.match(token, "^[^:]*:([^:]*):") or ""
end

local function leaveActive(vmId)
  redis.call("LREM", KEYS[7], 0, vmId)
  redis.call("DEL", KEYS[6])
end

-- It has had its turn, so that it comes to the front of its class.
local function intoQueue(args, className)
  leaveActive(args.vmId)
  local priority = frontPriority(classOf(args.classes, className), args.classWidth)
  redis.call("HSET", KEYS[1], "jobPriority", digits(priority))
  redis.call("HSET", KEYS[5], "priority", digits(priority))
  redis.call("HDEL", KEYS[5], "pb", "processedOn")
  local counter = redis.call("INCR", KEYS[9])
  redis.call("ZADD", KEYS[8], digits(priority * SCORE_UNIT + counter % SCORE_UNIT), args.vmId)
  redis.call("ZADD", KEYS[10], 0, "0") -- wakes whoever waits for work
end

local function intoCompleted(vmId, outcome, reason, now)
  leaveActive(vmId)
  redis.call("HSET", KEYS[5], "finishedOn", digits(now),
    "returnvalue", cjson.encode({ outcome = outcome, reason = reason or cjson.null }))
  redis.call("ZADD", KEYS[11], now, vmId)
end

local function intoFailed(vmId, causeJson, now)
  leaveActive(vmId)
  local cause = causeJson and cjson.decode(causeJson) or { code = "failed", message = "" }
  local message = cause.code .. ": " .. cause.message
  redis.call("HSET", KEYS[5], "finishedOn", digits(now), "failedReason", message, "stacktrace", cjson.encode({ message }))
  redis.call("ZADD", KEYS[12], now, vmId)
end

-- The launches of the record with this one, the oldest dropped when there are too many.
local function withThisLaunch(args, launchesJson, launch)
  local launches = launchesJson and cjson.decode(launchesJson) or {}
  launches[#launches + 1] = launch
  while #launches > args.launchesKept do table.remove(launches, 1) end
  return cjson.encode(launches)
end

-- When workers died early in a launch of this VM, with this time, as far as it still counts.
local function withThisCrash(args, crashesJson, now)
  local recent = {}
  for _, at in ipairs(crashesJson and cjson.decode(crashesJson) or {}) do
    if at > now - args.poison.windowMs then recent[#recent + 1] = at end
  end
  recent[#recent + 1] = now
  return recent
end

-- What Redis holds of a launch that is over, whoever held it. The port goes by what is held: a claim changes the token.
local function dropLaunch(vmId, epoch)
  local port = redis.call("HGET", KEYS[17], "v:" .. vmId)
  local holder = port and redis.call("HGET", KEYS[17], "p:" .. port)
  local ofThis = vmId .. "|" .. epoch .. "|"
  if holder and string.sub(holder, 1, #ofThis) == ofThis then givePort(KEYS[17], KEYS[18], port, vmId, holder) end
  redis.call("HDEL", KEYS[1], "port", "address")
  redis.call("DEL", KEYS[16])
end

local function endVm(args, from, to, keepMs, now)
  setState(KEYS[1], KEYS[3], args.vmId, from, to, now)
  redis.call("HSET", KEYS[1], "endedAtMs", digits(now))
  redis.call("ZREM", KEYS[13], "t:" .. args.vmId, "q:" .. args.vmId)
  redis.call("ZADD", KEYS[14], now + keepMs, args.vmId)
  showProgress(KEYS[5], cjson.encode({ state = to }))
end

local function takeBack(args, now)
  local job = redis.call("HMGET", KEYS[5], "pb", "ats", "processedOn")
  if job[1] ~= args.host or tonumber(job[2] or "0") ~= args.ats then return "changed" end
  if (redis.call("GET", KEYS[6]) or "") ~= args.lock then return "changed" end
  if not redis.call("LPOS", KEYS[7], args.vmId) then return "changed" end
  local record = redis.call("HMGET", KEYS[1], "state", "host", "epoch", "token", "priority", "launches", "attemptsMade",
    "crashes", "port", "launchedAtMs", "cause", "endReason", "command")
  local state = record[1]
  if not state then return "no_record" end

  if contains(args.final, state) then
    if state == "failed" then
      intoFailed(args.vmId, record[11], now)
    else
      intoCompleted(args.vmId, state, record[12], now)
    end
    return "settled"
  end

  local held = not contains(args.waiting, state)
  if held and (record[2] ~= args.host or stateOf(record[4]) ~= args.stateId) then return "changed" end
  local function launch(cause)
    local startedAtMs = math.floor(math.min(tonumber(record[10] or job[3] or now), now))
    return { epoch = tonumber(record[3]), host = args.host, port = tonumber(record[9]) or cjson.null,
      startedAtMs = startedAtMs, endedAtMs = now, cause = cause }
  end

  local mark = redis.call("GET", KEYS[4])
  if mark then
    if held and not args.endMarked then return "marked" end
    local reason = cjson.decode(mark).reason
    local to = reason == "requested" and "removed" or "expired"
    endVm(args, state, to, args.keep.completedMs, now)
    redis.call("HSET", KEYS[1], "endReason", reason)
    redis.call("DEL", KEYS[15])
    local data = { reason = reason }
    if held then
      redis.call("HSET", KEYS[1], "launches", withThisLaunch(args, record[6], launch(cjson.null)))
      dropLaunch(args.vmId, record[3])
      if args.unverified then
        data.unverified = true
        redis.call("HSET", KEYS[1], "unverified", "1")
      end
    end
    intoCompleted(args.vmId, to, reason, now)
    emit(KEYS[1], KEYS[2], args.vmId, "vm." .. to, cjson.encode(data), args.eventsMax, now)
    return to
  end

  if not held then
    intoQueue(args, record[5])
    return "returned"
  end

  redis.call("HSET", KEYS[1], "launches", withThisLaunch(args, record[6], launch(args.cause)))
  keepLostLaunch(prefixOf(KEYS[2]), args.vmId, launch(args.cause), record[13], args.forensicsKept)
  dropLaunch(args.vmId, record[3])
  local crashes = contains(args.booting, state) and withThisCrash(args, record[8], now) or {}
  if #crashes > 0 then redis.call("HSET", KEYS[1], "crashes", cjson.encode(crashes)) end
  if #crashes >= args.poison.crashes then
    local cause = cjson.encode(args.poison.cause)
    endVm(args, state, "failed", args.keep.failedMs, now)
    redis.call("HSET", KEYS[1], "endReason", args.poison.cause.code, "cause", cause)
    redis.call("PEXPIRE", KEYS[15], args.keep.failedSecretsMs)
    noteFailed(KEYS[1], KEYS[3], args.vmId, now)
    intoFailed(args.vmId, cause, now)
    emit(KEYS[1], KEYS[2], args.vmId, "vm.failed", cjson.encode({ cause = args.poison.cause, host = args.host,
      epoch = tonumber(record[3]), attempt = tonumber(record[7] or "0"), exitCode = cjson.null }), args.eventsMax, now)
    return "failed"
  end

  setState(KEYS[1], KEYS[3], args.vmId, state, "queued", now)
  redis.call("HSET", KEYS[1], "endReason", args.reason, "cause", cjson.encode(args.cause))
  redis.call("HDEL", KEYS[1], "host", "token", "command", "runningAtMs", "readyAtMs", "retryAtMs")
  noteRetried(KEYS[1], KEYS[3], args.vmId, cjson.encode(args.cause), args.host, now)
  intoQueue(args, record[5])
  showProgress(KEYS[5], cjson.encode({ state = "queued", reason = args.reason }))
  emit(KEYS[1], KEYS[2], args.vmId, "vm.queued", args.queuedEvent, args.eventsMax, now)
  return "queued"
end
