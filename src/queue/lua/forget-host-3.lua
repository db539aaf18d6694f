#!lua flags=allow-oom
--[[ FORGET_HOST: the host itself, once none of its VMs is left.
  KEYS[1] lease   KEYS[2] host   KEYS[3] hosts
  ARGV[1] { hostId }
  Returns "alive": it has a lease; "forgotten". ]]
if redis.call("EXISTS", KEYS[1]) == 1 then return "alive" end
redis.call("DEL", KEYS[2])
redis.call("SREM", KEYS[3], cjson.decode(ARGV[1]).hostId)
return "forgotten"
