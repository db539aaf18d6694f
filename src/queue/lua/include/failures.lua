-- Failures that belong together: a group is named `<cause>@<host>` and has sorted sets of vmIds by the time of the
-- failure, of everybody and of each owner, all below the prefix of the state sets:
--   vms     failed VMs that nobody has dealt with     sealed  those of them that have secrets
--   again   VMs of which a launch failed so and that were launched again
-- The record says in which groups its VM is, so that it leaves exactly these. Needs `record`.

local function groupOf(causeJson, host)
  local cause = causeJson and cjson.decode(causeJson).code or "internal"
  return cause .. "@" .. (host or "")
end

-- What follows a key's name for everybody and for the owner.
local function scopesOf(owner)
  return { "", ":" .. (owner or "") }
end

local function enterGroup(statePrefix, group, kind, owner, vmId, now)
  for _, scope in ipairs(scopesOf(owner)) do
    redis.call("ZADD", statePrefix .. "failed:" .. group .. ":" .. kind .. scope, digits(now), vmId)
    redis.call("SADD", statePrefix .. "failed:groups" .. scope, group)
  end
end

local function leaveGroup(statePrefix, group, kind, owner, vmId)
  local sets = statePrefix .. "failed:" .. group
  for _, scope in ipairs(scopesOf(owner)) do
    redis.call("ZREM", sets .. ":" .. kind .. scope, vmId)
    if redis.call("EXISTS", sets .. ":vms" .. scope, sets .. ":again" .. scope) == 0 then
      redis.call("SREM", statePrefix .. "failed:groups" .. scope, group)
    end
  end
end

-- The VM fails no more, or nobody has to look at it any more. Returns whether it was in a group.
local function leaveFailed(recordKey, statePrefix, vmId)
  local record = redis.call("HMGET", recordKey, "owner", "failureGroup")
  if not record[2] then return false end
  leaveGroup(statePrefix, record[2], "sealed", record[1], vmId)
  leaveGroup(statePrefix, record[2], "vms", record[1], vmId)
  redis.call("HDEL", recordKey, "failureGroup")
  return true
end

-- The VM has failed; its cause and host stand in the record already.
local function noteFailed(recordKey, statePrefix, vmId, now)
  leaveFailed(recordKey, statePrefix, vmId) -- a script of an older version knows nothing of groups
  local record = redis.call("HMGET", recordKey, "owner", "host", "cause", "hasSecrets")
  local group = groupOf(record[3], record[2])
  enterGroup(statePrefix, group, "vms", record[1], vmId, now)
  if record[4] == "1" then enterGroup(statePrefix, group, "sealed", record[1], vmId, now) end
  redis.call("HDEL", recordKey, "dismissed")
  redis.call("HSET", recordKey, "failureGroup", group)
end

-- A launch of the VM failed, and it is launched again by itself.
local function noteRetried(recordKey, statePrefix, vmId, causeJson, host, now)
  local record = redis.call("HMGET", recordKey, "owner", "retriedGroups")
  local groups = record[2] and cjson.decode(record[2]) or {}
  local group = groupOf(causeJson, host)
  enterGroup(statePrefix, group, "again", record[1], vmId, now)
  if contains(groups, group) then return end
  groups[#groups + 1] = group
  redis.call("HSET", recordKey, "retriedGroups", cjson.encode(groups))
end

-- Takes the VM out of one group of those that were launched again, or of all. Returns whether it was in one.
local function leaveRetried(recordKey, statePrefix, vmId, only)
  local record = redis.call("HMGET", recordKey, "owner", "retriedGroups")
  if not record[2] then return false end
  local kept, left = {}, false
  for _, group in ipairs(cjson.decode(record[2])) do
    if only and group ~= only then
      kept[#kept + 1] = group
    else
      leaveGroup(statePrefix, group, "again", record[1], vmId)
      left = true
    end
  end
  if #kept > 0 then
    redis.call("HSET", recordKey, "retriedGroups", cjson.encode(kept))
  else
    redis.call("HDEL", recordKey, "retriedGroups")
  end
  return left
end

-- What is kept of a launch whose host was lost: nobody was there to look. Made of texts, since cjson knows no empty list.
-- The field is that of `forensics-fields.ts`.
local function keepLostLaunch(prefix, vmId, launch, command, kept)
  local text = string.sub(cjson.encode(launch), 1, -2) .. ',"command":' .. cjson.encode(command or cjson.null)
    .. ',"exit":null,"qmpEvents":[],"consoleTail":"","qemuTail":""}'
  redis.call("HSET", prefix .. "tail:" .. vmId, "forensics:" .. digits(launch.epoch % kept), text)
end
