#!lua flags=allow-oom
--[[ REAP: takes one VM back from a host that is lost. Refused while the owner's lease is there (a lease of another state
  directory is not the owner's), while the host is away as it said, and when job or record are not what the reaper saw.
  KEYS[1..18] as takeBack has them   KEYS[19] lease of the host   KEYS[20] host
  ARGV[1] what takeBack takes; stateId "" is an owner of whom only the host is known
  Returns "alive" | "away" | what takeBack returns. ]]
--#include record
--#include ports
--#include fairness
--#include failures
--#include takeback
local args = cjson.decode(ARGV[1])
local now = nowMs()
local lease = redis.call("GET", KEYS[19])
if lease then
  local readable, holder = pcall(cjson.decode, lease)
  if args.stateId == "" or not readable or type(holder) ~= "table" or holder.stateId == args.stateId then return "alive" end
end
if tonumber(redis.call("HGET", KEYS[20], "awayUntilMs") or "0") > now then return "away" end
return takeBack(args, now)
