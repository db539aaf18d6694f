#!lua flags=allow-oom
--[[ NOTE_FAILURE: a failed VM gets its place among the failures that a script of an older version has not given it.
  KEYS[1] record   KEYS[2] prefix of the state sets
  ARGV[1] { vmId }
  Returns 1, or 0 when it has one, or needs none. ]]
--#include record
--#include failures
local args = cjson.decode(ARGV[1])
local record = redis.call("HMGET", KEYS[1], "state", "failureGroup", "dismissed", "removal", "stateAtMs")
if record[1] ~= "failed" or record[2] or record[3] or record[4] then return 0 end
noteFailed(KEYS[1], KEYS[2], args.vmId, tonumber(record[5]))
return 1
