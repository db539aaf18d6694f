#!lua flags=allow-oom
--[[ LEASE_TAKE: takes or renews the lease of a host id by compare-and-set: who holds it is named by state directory and boot. What
  the host says of itself is written with it or not at all.
  KEYS[1] lease   KEYS[2] host   KEYS[3] hosts
  ARGV[1] { hostId, lease (its text), ttlMs, description, renews (true: leaves `away` as it is) }
  May also write when Redis is full: a host is not dead because of that.
  Returns { "taken", what an operator wants of the host, since when (ms) }, both "" where nobody has said anything
  | { "held", the other's lease, its time left in ms } ]]
--#include record
local args = cjson.decode(ARGV[1])
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= args.lease then return { "held", holder, redis.call("PTTL", KEYS[1]) } end
redis.call("SET", KEYS[1], args.lease, "PX", args.ttlMs)
redis.call("HSET", KEYS[2], "description", args.description, "seenAtMs", digits(nowMs()))
redis.call("HDEL", KEYS[2], "leftAtMs")
if not args.renews then redis.call("HDEL", KEYS[2], "awayUntilMs") end
redis.call("SADD", KEYS[3], args.hostId)
return { "taken", redis.call("HGET", KEYS[2], "wish") or "", redis.call("HGET", KEYS[2], "wishAtMs") or "" }
