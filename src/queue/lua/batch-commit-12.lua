#!lua
--[[ BATCH_COMMIT: what was staged becomes a batch, whole or not at all. Idempotent by the upload; the same batch id with
  another upload is the same idempotency key used again.
  KEYS[1] batch   KEYS[2] its items   KEYS[3] its boxes   KEYS[4] staged items   KEYS[5] staged boxes   KEYS[6] tombstone
  KEYS[7] events   KEYS[8] batches   KEYS[9] batches of the owner   KEYS[10] open-batches   KEYS[11] due-batches
  KEYS[12] states of the batch
  ARGV[1] { batchId, upload, digest, total, itemFields, boxFields (how many fields were staged), fields, name? }
  Returns { "accepted" | "replayed" | "conflict" | "gone" | "lost", digest } ]]
--#include record
local args = cjson.decode(ARGV[1])
local now = nowMs()
local prefix = prefixOf(KEYS[7])
local function refuse(kind, digest)
  redis.call("UNLINK", KEYS[4], KEYS[5])
  return { kind, digest }
end
local known = redis.call("HMGET", KEYS[1], "digest", "upload")
if known[1] then
  if known[2] == args.upload then return { "accepted", args.digest } end
  return refuse(known[1] == args.digest and "replayed" or "conflict", known[1])
end
if redis.call("EXISTS", KEYS[6]) == 1 then return refuse("gone", "") end
if redis.call("HLEN", KEYS[4]) ~= args.itemFields or redis.call("HLEN", KEYS[5]) ~= args.boxFields then
  return refuse("lost", "")
end

-- What an earlier batch of this id may have left can only be of a Redis that lost the half of it.
redis.call("UNLINK", KEYS[2], KEYS[3], KEYS[1] .. ":ends", KEYS[1] .. ":pace")
redis.call("RENAME", KEYS[4], KEYS[2])
redis.call("PERSIST", KEYS[2])
if args.boxFields > 0 then
  redis.call("RENAME", KEYS[5], KEYS[3])
  redis.call("PERSIST", KEYS[3])
end
redis.call("SET", KEYS[12], string.rep(LETTERS.listed, args.total))
writeFields(KEYS[1], args.fields)
redis.call("HSET", KEYS[1], "batchId", args.batchId, "upload", args.upload, "digest", args.digest, "total", args.total,
  "s:listed", args.total, "state", "active", "next", 0, "seq", 0, "createdAtMs", digits(now))
redis.call("ZADD", KEYS[8], now, args.batchId)
redis.call("ZADD", KEYS[9], now, args.batchId)
redis.call("SADD", KEYS[10], args.batchId)
makeDue(prefix, args.batchId, now)
emitBatch(prefix, args.batchId, "batch.accepted", { name = args.name, total = args.total }, now)
return { "accepted", args.digest }
