#!lua flags=allow-oom
--[[ FORGET_VM: an operator says that its host is gone for good. Refused while the host has a lease, whoever's.
  KEYS[1..18] as takeBack has them   KEYS[19] lease of the host
  ARGV[1] what takeBack takes
  Returns "alive" | what takeBack returns. ]]
--#include record
--#include ports
--#include fairness
--#include failures
--#include takeback
if redis.call("EXISTS", KEYS[19]) == 1 then return "alive" end
return takeBack(cjson.decode(ARGV[1]), nowMs())
