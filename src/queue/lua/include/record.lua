-- Shared by the scripts that move a VM. Time is Redis's own, so that all hosts agree on it.
local function nowMs()
  local time = redis.call("TIME")
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Lua prints large numbers as 1.7e+12; Redis must hold digits.
local function digits(number)
  return string.format("%.0f", number)
end

-- Writes fields; a JSON null deletes the field.
local function writeFields(recordKey, fields)
  for field, value in pairs(fields) do
    if value == cjson.null then
      redis.call("HDEL", recordKey, field)
    else
      redis.call("HSET", recordKey, field, value)
    end
  end
end

--#include batch

-- The event of a move, with the next number of this VM: the last step of a move, because the VM's batch counts it by
-- what the record says now. State, event and count change in one script or not at all.
local function emit(recordKey, eventsKey, vmId, type, dataJson, eventsMax, now)
  local seq = redis.call("HINCRBY", recordKey, "seq", 1)
  local of = redis.call("HMGET", recordKey, "owner", "batch")
  redis.call("XADD", eventsKey, "MAXLEN", "~", eventsMax, "*",
    "type", type, "vm", vmId, "owner", of[1], "seq", seq, "at", digits(now), "data", dataJson)
  if of[2] then countVm(recordKey, prefixOf(eventsKey), now) end
  return seq
end

-- Moves the VM between the sorted sets of the states and writes state and its time.
local function setState(recordKey, statePrefix, vmId, from, to, now)
  local createdAt = redis.call("HGET", recordKey, "createdAtMs")
  redis.call("ZREM", statePrefix .. from, vmId)
  redis.call("ZADD", statePrefix .. to, createdAt, vmId)
  redis.call("HSET", recordKey, "state", to, "stateAtMs", digits(now))
end

local function contains(list, wanted)
  for _, item in ipairs(list) do
    if item == wanted then return true end
  end
  return false
end

-- What the dashboard shows of a live VM. Without the job there is nothing to show it on.
local function showProgress(jobKey, progress)
  if progress and redis.call("EXISTS", jobKey) == 1 then
    redis.call("HSET", jobKey, "progress", progress)
  end
end
