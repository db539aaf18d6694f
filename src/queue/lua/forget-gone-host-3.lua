#!lua flags=allow-oom
--[[ FORGET_GONE_HOST: a host that left without a VM long ago, and that is wanted open, as it would come back.
  KEYS[1] lease   KEYS[2] host   KEYS[3] hosts
  ARGV[1] { hostId, keptMs }
  Returns 1, or 0 when it is not one: then nothing was changed. ]]
--#include record
local args = cjson.decode(ARGV[1])
local leftAt = tonumber(redis.call("HGET", KEYS[2], "leftAtMs") or "0")
if leftAt == 0 or leftAt + args.keptMs > nowMs() or redis.call("EXISTS", KEYS[1]) == 1 then return 0 end
local wish = redis.call("HGET", KEYS[2], "wish")
if wish and cjson.decode(wish).kind ~= "open" then return 0 end
redis.call("DEL", KEYS[2])
redis.call("SREM", KEYS[3], args.hostId)
return 1
