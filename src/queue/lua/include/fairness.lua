-- Start-time fair queueing in a pool. Tags are virtual time and only grow: `<class>:clock` is the tag of what was
-- launched last, and a hash beside it for each class, `<fairness>:<class>`, holds where each owner's last VM ends. A
-- waiting job's priority is its tag's distance from `<class>:base`, because BullMQ's priorities end; the base follows the
-- clock, so that they never do.

-- BullMQ's score of a prioritized job is priority * 2^32 + a counter.
local SCORE_UNIT = 0x100000000

local function classOf(classes, name)
  for index, class in ipairs(classes) do
    if class == name then return index - 1 end
  end
  return #classes - 1
end

-- The head of a class: for VMs that have had their turn already and come back.
local function frontPriority(class, width)
  return class * width + 1
end

local function priorityOfTag(class, width, tag, base)
  return frontPriority(class, width) + 1 + math.min(math.max(tag - base, 0), width - 2)
end

-- Moves the base up to the clock and all that waits along with it; the order stays. Needed once in some 350,000 launches
-- of a class that always has somebody waiting: 0.2 s for 100,000 that wait, all at once, so that nobody fetches between.
local function moveBase(fairnessKey, prioritizedKey, class, width, clock, base)
  local front = frontPriority(class, width)
  local lowest, beyond = digits(front * SCORE_UNIT), "(" .. digits((front + width) * SCORE_UNIT)
  local waiting = redis.call("ZRANGEBYSCORE", prioritizedKey, lowest, beyond, "WITHSCORES")
  local moved = {}
  for i = 1, #waiting, 2 do
    local score = tonumber(waiting[i + 1])
    local place = math.floor(score / SCORE_UNIT) - front
    if place > 0 then
      moved[#moved + 1] = digits(score - (place - math.max(place - (clock - base), 1)) * SCORE_UNIT)
      moved[#moved + 1] = waiting[i]
    end
    if #moved >= 2000 or (i + 2 > #waiting and #moved > 0) then -- unpack has a limit
      redis.call("ZADD", prioritizedKey, "XX", unpack(moved))
      moved = {}
    end
  end
  redis.call("HSET", fairnessKey, class .. ":base", digits(clock))
end

-- Whether no VM of the class waits in the pool. Whatever comes back from elsewhere comes to the front of the class.
local function nobodyWaits(prioritizedKey, pendingKey, class, width)
  local front = frontPriority(class, width)
  return redis.call("ZCARD", pendingKey) == 0 -- accepted, and its job is still on its way: of whatever pool
    and redis.call("ZCOUNT", prioritizedKey, digits(front * SCORE_UNIT), "(" .. digits((front + width) * SCORE_UNIT)) == 0
end

-- The start tag of an owner's next VM, and the base from which priorities count now.
local function nextTag(fairnessKey, prioritizedKey, pendingKey, class, width, owner)
  local finishKey = fairnessKey .. ":" .. class
  local now = redis.call("HMGET", fairnessKey, class .. ":clock", class .. ":base")
  local clock, base = tonumber(now[1] or "0"), tonumber(now[2] or "0")
  local finish = tonumber(redis.call("HGET", finishKey, owner) or "0")
  if nobodyWaits(prioritizedKey, pendingKey, class, width) then
    redis.call("UNLINK", finishKey) -- of many owners: freed in the background
    if base ~= clock then redis.call("HSET", fairnessKey, class .. ":base", digits(clock)) end
    base, finish = clock, 0
  elseif clock - base > width / 2 then
    moveBase(fairnessKey, prioritizedKey, class, width, clock, base)
    base = clock
  end
  local tag = math.max(clock, finish)
  redis.call("HSET", finishKey, owner, digits(tag + 1))
  return tag, base
end
