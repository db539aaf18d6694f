-- A batch counts its VMs in the very script that moves them: `emit` calls countVm, because every move ends with its
-- event. The keys of a batch follow from the key of the events (same prefix, same slot), so that the scripts that move
-- VMs need not be given them:
--   <batch>        hash: what it is; `s:<state>` items in a state, `c:<cause>` failed items, `a:<cause>` those of them
--                  that are listed again
--   <batch>:states text: a letter for each item, at its index (queue/batch-states.ts has the same table)
--   <batch>:ends   hash: index -> [ended at, host, cause, exit code]; stays when the VM's record is deleted
--   <batch>:pace   list: `<time>:<ended items>`, some 200 of a batch
local LETTERS = { listed = "l", again = "a", skipped = "s", queued = "q", preparing = "p", starting = "b", running = "r",
  ready = "y", stopping = "t", retrying = "w", completed = "c", removed = "d", expired = "e", failed = "f" }
local ITEM_STATES = {}
for state, letter in pairs(LETTERS) do ITEM_STATES[letter] = state end
local ENDED = { skipped = true, completed = true, removed = true, expired = true, failed = true }
local PACE_SAMPLES = 200

local function prefixOf(eventsKey)
  return string.sub(eventsKey, 1, -#"events" - 1)
end

local function letterOf(batchKey, index)
  return redis.call("GETRANGE", batchKey .. ":states", index, index)
end

local function endedItems(batchKey)
  local ended = 0
  for _, count in ipairs(redis.call("HMGET", batchKey, "s:skipped", "s:completed", "s:removed", "s:expired", "s:failed")) do
    ended = ended + tonumber(count or "0")
  end
  return ended
end

local function listedItems(batchKey)
  return tonumber(redis.call("HGET", batchKey, "s:listed") or "0")
end

-- Items whose VM waits for a host or has one.
local function liveItems(batchKey)
  return tonumber(redis.call("HGET", batchKey, "total") or "0") - listedItems(batchKey) - endedItems(batchKey)
end

-- Tells a feeder. One that could not open the shared secrets must not take the word from one that can.
local function makeDue(prefix, batchId, now)
  local sealed = redis.call("HEXISTS", prefix .. "batch:" .. batchId, "shared") == 1
  redis.call("ZADD", prefix .. "due-batches" .. (sealed and ":sealed" or ""), "NX", now, batchId)
end

local function emitBatch(prefix, batchId, type, data, now)
  local batchKey = prefix .. "batch:" .. batchId
  local seq = redis.call("HINCRBY", batchKey, "seq", 1)
  local batch = redis.call("HMGET", batchKey, "owner", "eventsMax")
  redis.call("XADD", prefix .. "events", "MAXLEN", "~", batch[2], "*",
    "type", type, "vm", batchId, "owner", batch[1], "seq", seq, "at", digits(now), "data", cjson.encode(data))
end

local function endBatch(prefix, batchId, state, now)
  local batchKey = prefix .. "batch:" .. batchId
  local data = {}
  local names = { "total", "s:completed", "s:failed", "s:expired", "s:removed", "s:skipped" }
  for i, count in ipairs(redis.call("HMGET", batchKey, unpack(names))) do
    data[string.match(names[i], "(%a+)$")] = tonumber(count or "0")
  end
  data.outcome = (state == "cancelling" and "cancelled") or (state == "stopping" and "stopped")
    or (data.completed == data.total and "completed") or "failed"
  redis.call("HSET", batchKey, "state", "ended", "outcome", data.outcome, "endedAtMs", digits(now))
  redis.call("HDEL", batchKey, "shared")
  redis.call("UNLINK", batchKey .. ":boxes") -- nothing is listed any more, and a VM has a box of its own
  redis.call("ZREM", prefix .. "due-batches", batchId)
  redis.call("ZREM", prefix .. "due-batches:sealed", batchId)
  redis.call("SREM", prefix .. "open-batches", batchId)
  redis.call("ZADD", prefix .. "ended-batches", now, batchId)
  emitBatch(prefix, batchId, "batch.completed", data, now)
end

-- The last item ends its batch; of an ended batch whose VM goes on, the batch does too.
local function settleBatch(prefix, batchId, now)
  local batchKey = prefix .. "batch:" .. batchId
  local batch = redis.call("HMGET", batchKey, "state", "total")
  local ended = endedItems(batchKey)
  if ended == tonumber(batch[2]) then
    if batch[1] ~= "ended" then endBatch(prefix, batchId, batch[1], now) end
  elseif batch[1] == "ended" then
    redis.call("HSET", batchKey, "state", "active")
    redis.call("HDEL", batchKey, "outcome", "endedAtMs", "removing")
    redis.call("ZREM", prefix .. "ended-batches", batchId)
    redis.call("SADD", prefix .. "open-batches", batchId)
  elseif batch[1] == "active" and listedItems(batchKey) > 0 then
    makeDue(prefix, batchId, now)
  end
  return ended
end

-- Nothing further is fed: what is listed is skipped, what is listed again has failed as before. A feeder does the rest.
local function stopFeeding(prefix, batchId, state, now)
  local batchKey = prefix .. "batch:" .. batchId
  local listed = listedItems(batchKey)
  local again = 0
  for _, field in ipairs(redis.call("HKEYS", batchKey)) do
    local cause = string.match(field, "^a:(.+)$")
    if cause then
      local count = tonumber(redis.call("HGET", batchKey, field))
      redis.call("HINCRBY", batchKey, "c:" .. cause, count)
      redis.call("HDEL", batchKey, field)
      again = again + count
    end
  end
  if listed > 0 then -- some milliseconds for 100,000, once in the life of a batch
    local states = string.gsub(redis.call("GET", batchKey .. ":states"), "l", "s")
    if again > 0 then states = string.gsub(states, "a", "f") end
    redis.call("SET", batchKey .. ":states", states)
    redis.call("HSET", batchKey, "s:listed", 0)
    redis.call("HINCRBY", batchKey, "s:skipped", listed - again)
    redis.call("HINCRBY", batchKey, "s:failed", again)
  end
  redis.call("HSET", batchKey, "state", state)
  makeDue(prefix, batchId, now)
end

-- Counts an item in another state. `how` = { host?, cause?, exitCode? } of one that has ended.
local function countItem(prefix, batchId, index, to, how, now)
  local batchKey = prefix .. "batch:" .. batchId
  local batch = redis.call("HMGET", batchKey, "total", "state", "stopAfterFailures", "failedBefore")
  local total = tonumber(batch[1] or "0")
  if index >= total then return end -- the batch is deleted
  local was = ITEM_STATES[letterOf(batchKey, index)]
  if not was or was == to then return end
  redis.call("SETRANGE", batchKey .. ":states", index, LETTERS[to])
  redis.call("HINCRBY", batchKey, "s:" .. (was == "again" and "listed" or was), -1)
  redis.call("HINCRBY", batchKey, "s:" .. to, 1)
  if ENDED[was] or was == "again" then
    local ended = redis.call("HGET", batchKey .. ":ends", index)
    local cause = ended and cjson.decode(ended)[3]
    if cause and cause ~= cjson.null then
      redis.call("HINCRBY", batchKey, (was == "again" and "a:" or "c:") .. cause, -1)
    end
    redis.call("HDEL", batchKey .. ":ends", index)
  end
  if to == "preparing" and redis.call("HSETNX", batchKey, "startedAtMs", digits(now)) == 1 then
    redis.call("RPUSH", batchKey .. ":pace", digits(now) .. ":" .. endedItems(batchKey))
  end
  if not ENDED[to] then
    if batch[2] == "stopping" and (to == "queued" or to == "retrying") then makeDue(prefix, batchId, now) end
    if batch[2] == "ended" then settleBatch(prefix, batchId, now) end
    return
  end
  redis.call("HSET", batchKey .. ":ends", index,
    cjson.encode({ now, how.host or cjson.null, how.cause or cjson.null, how.exitCode or cjson.null }))
  if how.cause then
    redis.call("HINCRBY", batchKey, "c:" .. how.cause, 1)
    local failed = tonumber(redis.call("HGET", batchKey, "s:failed")) - tonumber(batch[4] or "0")
    if batch[2] == "active" and batch[3] and failed >= tonumber(batch[3]) then
      stopFeeding(prefix, batchId, "stopping", now)
    end
  end
  local ended = settleBatch(prefix, batchId, now)
  if ended % math.max(1, math.floor(total / PACE_SAMPLES)) == 0 then
    redis.call("RPUSH", batchKey .. ":pace", digits(now) .. ":" .. ended)
    redis.call("LTRIM", batchKey .. ":pace", -PACE_SAMPLES - 1, -1)
  end
end

-- Counts a VM of a batch in the state that its record has. Its batch may be deleted by now.
local function countVm(recordKey, prefix, now)
  local record = redis.call("HMGET", recordKey, "batch", "item", "state")
  local how = {}
  if ENDED[record[3]] then
    local ended = redis.call("HMGET", recordKey, "host", "cause", "result")
    how.host = ended[1] or nil
    if record[3] == "failed" then how.cause = ended[2] and cjson.decode(ended[2]).code or "failed" end
    local exitCode = ended[3] and cjson.decode(ended[3]).exitCode
    if exitCode and exitCode ~= cjson.null then how.exitCode = exitCode end
  end
  countItem(prefix, record[1], tonumber(record[2]), record[3], how, now)
end
