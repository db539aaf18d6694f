#!lua flags=allow-oom
--[[ LEASE_LEAVE: a host gives its lease up, only its own; one that leaves VMs behind says until when it may be away,
  one that leaves none is gone from then on.
  KEYS[1] lease   KEYS[2] host
  ARGV[1] { lease (its text), awayMs (0: it leaves nothing behind) }
  Returns 1, or 0 when the lease is another's: then nothing was changed. ]]
--#include record
local args = cjson.decode(ARGV[1])
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= args.lease then return 0 end
if args.awayMs > 0 then
  redis.call("HSET", KEYS[2], "awayUntilMs", digits(nowMs() + args.awayMs))
elseif redis.call("EXISTS", KEYS[2]) == 1 then
  redis.call("HSET", KEYS[2], "leftAtMs", digits(nowMs()))
end
redis.call("DEL", KEYS[1])
return 1
