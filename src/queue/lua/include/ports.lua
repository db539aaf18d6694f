-- Ports of one machine: hash `p:<port>` -> holder and `v:<vmId>` -> port; holder is `<vmId>|<epoch>|<token>`.

-- The port of the holder, -1 when none is free, -2 when another launch of the VM holds one.
-- Idempotent by holder. Never used ports come first, then the least recently used.
local function takePort(portsKey, lruKey, asideKey, range, vmId, holder, now)
  local held = redis.call("HGET", portsKey, "v:" .. vmId)
  if held then
    if redis.call("HGET", portsKey, "p:" .. held) == holder then return tonumber(held) end
    return -2
  end
  redis.call("ZREMRANGEBYSCORE", asideKey, "-inf", now)
  local barred = {}
  for _, port in ipairs(range.reserved) do barred[port] = true end
  for _, port in ipairs(redis.call("ZRANGE", asideKey, 0, -1)) do barred[tonumber(port)] = true end
  for _, field in ipairs(redis.call("HKEYS", portsKey)) do
    local port = string.match(field, "^p:(%d+)$")
    if port then barred[tonumber(port)] = true end
  end
  local usedAt = {}
  local used = redis.call("ZRANGE", lruKey, 0, -1, "WITHSCORES")
  for i = 1, #used, 2 do usedAt[tonumber(used[i])] = tonumber(used[i + 1]) end
  local best, bestAt
  for port = range.first, range.last do
    if not barred[port] then
      local at = usedAt[port] or -1
      if best == nil or at < bestAt then best, bestAt = port, at end
      if bestAt == -1 then break end
    end
  end
  if best == nil then return -1 end
  redis.call("HSET", portsKey, "p:" .. best, holder, "v:" .. vmId, best)
  -- The key carries the boot id: after a reboot nobody touches it again, so that it goes by itself.
  for _, key in ipairs({ portsKey, lruKey, asideKey }) do redis.call("PEXPIRE", key, 60 * 24 * 3600 * 1000) end
  return best
end

-- Gives the port back, only by its holder: 1, or 0 when this holder does not hold it.
local function givePort(portsKey, lruKey, port, vmId, holder)
  if redis.call("HGET", portsKey, "p:" .. port) ~= holder then return 0 end
  redis.call("HDEL", portsKey, "p:" .. port, "v:" .. vmId)
  -- Microseconds: two ports that come back in one millisecond keep their order.
  local time = redis.call("TIME")
  redis.call("ZADD", lruKey, tonumber(time[1]) * 1000000 + tonumber(time[2]), port)
  return 1
end

-- How many ports of the range could be taken now. Other workers of the machine may have ranges of their own in the same
-- hash, and what is set aside comes back by time alone.
local function freePorts(portsKey, asideKey, range, now)
  local barred, count = {}, 0
  local function bar(port)
    if port and port >= range.first and port <= range.last and not barred[port] then
      barred[port] = true
      count = count + 1
    end
  end
  for _, port in ipairs(range.reserved) do bar(port) end
  for _, field in ipairs(redis.call("HKEYS", portsKey)) do bar(tonumber(string.match(field, "^p:(%d+)$"))) end
  for _, port in ipairs(redis.call("ZRANGEBYSCORE", asideKey, "(" .. digits(now), "+inf")) do bar(tonumber(port)) end
  return range.last - range.first + 1 - count
end
