#!lua flags=allow-oom
--[[ HOST_WISH: what an operator wants of a host. The same wish again keeps the time of the first.
  KEYS[1] host   KEYS[2] hosts
  ARGV[1] { hostId, wish (its text) }
  Returns since when it stands (ms), or 0: there is no such host. ]]
--#include record
local args = cjson.decode(ARGV[1])
if redis.call("SISMEMBER", KEYS[2], args.hostId) == 0 then return 0 end
if redis.call("HGET", KEYS[1], "wish") ~= args.wish then
  redis.call("HSET", KEYS[1], "wish", args.wish, "wishAtMs", digits(nowMs()))
end
return tonumber(redis.call("HGET", KEYS[1], "wishAtMs"))
