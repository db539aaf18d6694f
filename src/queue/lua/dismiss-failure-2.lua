#!lua flags=allow-oom
--[[ DISMISS_FAILURE: somebody has seen that a VM failed, or that a launch of it did, and it counts no longer. The VM
  itself stays as it is; when it fails anew it counts again. Twice is no error.
  KEYS[1] record   KEYS[2] prefix of the state sets
  ARGV[1] { vmId, group, by }
  Returns 1, or 0 when the VM was not in the group. ]]
--#include record
--#include failures
local args = cjson.decode(ARGV[1])
local left = leaveRetried(KEYS[1], KEYS[2], args.vmId, args.group)
if redis.call("HGET", KEYS[1], "failureGroup") == args.group then
  left = leaveFailed(KEYS[1], KEYS[2], args.vmId)
  redis.call("HSET", KEYS[1], "dismissed", cjson.encode({ by = args.by, atMs = nowMs() }))
end
return left and 1 or 0
