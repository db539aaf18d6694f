#!lua flags=allow-oom
--[[ GIVE_PORT: give a port back, only by its holder; optionally set it aside for a while.
  KEYS[1] ports   KEYS[2] ports-lru   KEYS[3] ports-aside
  ARGV[1] { vmId, holder, port, asideMs? , range }
  Returns { 1 given | 0 not held by this holder, free }. ]]
--#include record
--#include ports
local args = cjson.decode(ARGV[1])
local now = nowMs()
local given = givePort(KEYS[1], KEYS[2], args.port, args.vmId, args.holder)
if given == 1 and args.asideMs and args.asideMs ~= cjson.null then
  redis.call("ZADD", KEYS[3], now + args.asideMs, args.port)
end
return { given, freePorts(KEYS[1], KEYS[3], args.range, now) }
