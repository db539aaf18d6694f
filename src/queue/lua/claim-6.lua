#!lua flags=allow-oom
--[[ CLAIM: the next worker of a host takes over what the worker before it held. The token changes in lock, record and
  port, so that whatever the dead one has still on its way changes nothing. Idempotent: a second claim by the same host
  and state directory is a claim as well.
  KEYS[1] record   KEYS[2] mark   KEYS[3] job   KEYS[4] active   KEYS[5] ports   KEYS[6] lock
  ARGV[1] { vmId, host, epoch, tokenPrefix, token (the new one), holder (with it), lockMs, waiting, final }
  Returns { code, state, mark or "" }: 1 claimed, 2 claimed before the record knew of the launch (fetched, not prepared),
  -1 no record, -2 the record or the job is not this host's. ]]
--#include record
local args = cjson.decode(ARGV[1])
local mark = redis.call("GET", KEYS[2]) or ""
local record = redis.call("HMGET", KEYS[1], "state", "host", "epoch", "token")
local state = record[1]
if not state then return { -1, "", mark } end
local function ofThisState(token)
  return token and string.sub(token, 1, #args.tokenPrefix) == args.tokenPrefix
end
local job = redis.call("HMGET", KEYS[3], "pb", "ats")
if job[1] ~= args.host or not ofThisState(redis.call("GET", KEYS[6])) or not redis.call("LPOS", KEYS[4], args.vmId) then
  return { -2, state, mark }
end
local epoch = tonumber(record[3])
local prepared = record[2] == args.host and epoch == args.epoch and ofThisState(record[4])
local fetched = contains(args.waiting, state) and epoch < args.epoch and tonumber(job[2] or "0") == args.epoch
if not prepared and not fetched then
  -- It has ended without this launch: its job is left to be settled, which the new token must be able to do.
  if contains(args.final, state) and tonumber(job[2] or "0") == args.epoch then
    redis.call("SET", KEYS[6], args.token, "PX", digits(args.lockMs))
  end
  return { -2, state, mark }
end
redis.call("SET", KEYS[6], args.token, "PX", digits(args.lockMs))
if not prepared then return { 2, state, mark } end
redis.call("HSET", KEYS[1], "token", args.token)
local port = redis.call("HGET", KEYS[5], "v:" .. args.vmId)
if port then redis.call("HSET", KEYS[5], "p:" .. port, args.holder) end
return { 1, state, mark }
