#!lua flags=allow-oom
--[[ JOB_ADDED: the job of an accepted VM is in BullMQ. Its place is set right if places have moved since the accept, and
  a job whose VM has ended meanwhile goes again. Idempotent.
  KEYS[1] record   KEYS[2] pending-jobs   KEYS[3] prioritized   KEYS[4] fairness of the pool   KEYS[5] job
  ARGV[1] { vmId, final = states, classes, classWidth }
  Returns 1, or 0 when the VM has ended or its job is not there. ]]
--#include record
--#include fairness
local args = cjson.decode(ARGV[1])
local record = redis.call("HMGET", KEYS[1], "state", "epoch", "tag", "priority")
local ended = not record[1] or contains(args.final, record[1])
-- A failover between the two may have lost the job: then the sweeper still has to look.
if not ended and redis.call("EXISTS", KEYS[5]) == 0 then return 0 end
redis.call("ZREM", KEYS[2], args.vmId)
if ended then
  if redis.call("ZREM", KEYS[3], args.vmId) == 1 then redis.call("DEL", KEYS[5]) end
  return 0
end
local score = tonumber(redis.call("ZSCORE", KEYS[3], args.vmId) or "")
if score and record[2] == "0" and record[3] then
  local class = classOf(args.classes, record[4])
  local base = tonumber(redis.call("HGET", KEYS[4], class .. ":base") or "0")
  local priority = priorityOfTag(class, args.classWidth, tonumber(record[3]), base)
  if math.floor(score / SCORE_UNIT) ~= priority then
    redis.call("ZADD", KEYS[3], "XX", digits(priority * SCORE_UNIT + score % SCORE_UNIT), args.vmId)
  end
end
return 1
