#!lua
--[[ ACCEPT: a request becomes a VM in state queued, epoch 0. Its job is added after this, outside; a sweeper adds it
  if the API dies in between (pending-jobs). Idempotent by vmId and, with a key, by (owner, idempotency key).
  KEYS[1] record   KEYS[2] events   KEYS[3] prefix of the state sets   KEYS[4] vms   KEYS[5] vms of the owner
  KEYS[6] box   KEYS[7] mark   KEYS[8] pending-jobs   KEYS[9] deadlines   KEYS[10] fairness of the pool
  KEYS[11] pools   KEYS[12] idempotency key (a name that is never written without args.idempotent)
  KEYS[13] prioritized
  ARGV[1] { vmId, digest, fields, eventData, eventsMax, sealed?, queueTimeoutMs?, idempotent, recordPrefix,
            pool, owner, class (name), classes (names, most urgent first), classWidth }
  Returns { "accepted" | "replayed" | "conflict" | "gone", vmId, the record's fields when accepted } ]]
--#include record
--#include fairness
--#include admit
local args = cjson.decode(ARGV[1])
local now = nowMs()
local function accepted()
  return { "accepted", args.vmId, redis.call("HGETALL", KEYS[1]) }
end

if args.idempotent then
  local known = redis.call("GET", KEYS[12])
  if known then
    local earlier = cjson.decode(known)
    if earlier.vmId ~= args.vmId then
      if earlier.digest ~= args.digest then return { "conflict", earlier.vmId } end
      if redis.call("EXISTS", args.recordPrefix .. earlier.vmId) == 0 then return { "gone", earlier.vmId } end
      return { "replayed", earlier.vmId }
    end
  end
end
if redis.call("EXISTS", KEYS[1]) == 1 then
  if redis.call("HGET", KEYS[1], "digest") == args.digest then return accepted() end
  return { "conflict", args.vmId }
end
if redis.call("EXISTS", KEYS[7]) == 1 then return { "gone", args.vmId } end

if args.idempotent then
  redis.call("SET", KEYS[12], cjson.encode({ vmId = args.vmId, digest = args.digest }))
  redis.call("HSET", KEYS[1], "idempotencyKey", KEYS[12])
end
admit({ record = KEYS[1], events = KEYS[2], states = KEYS[3], vms = KEYS[4], owned = KEYS[5], box = KEYS[6],
  pending = KEYS[8], deadlines = KEYS[9], fairness = KEYS[10], pools = KEYS[11], prioritized = KEYS[13] }, args, now)
return accepted()
