#!lua flags=allow-oom
--[[ CHECK: whether Redis still says that this launch owns its VM, its job and its port. Changes nothing.
  KEYS[1] record   KEYS[2] mark   KEYS[3] job   KEYS[4] active   KEYS[5] ports
  ARGV[1] { vmId, host, epoch, token, holder, port?, rank, ranks }
  Returns { "ours" | "differs", mark or "" } ]]
local args = cjson.decode(ARGV[1])
local function ours()
  local record = redis.call("HMGET", KEYS[1], "host", "epoch", "token", "state")
  if record[1] ~= args.host or tonumber(record[2] or "-1") ~= args.epoch or record[3] ~= args.token then return false end
  if (args.ranks[record[4]] or 0) < args.rank then return false end
  if redis.call("HGET", KEYS[3], "pb") ~= args.host then return false end
  if redis.call("GET", KEYS[3] .. ":lock") ~= args.token then return false end
  if not redis.call("LPOS", KEYS[4], args.vmId) then return false end
  if not args.port or args.port == cjson.null then return true end
  return redis.call("HGET", KEYS[5], "p:" .. args.port) == args.holder
end
return { ours() and "ours" or "differs", redis.call("GET", KEYS[2]) or "" }
