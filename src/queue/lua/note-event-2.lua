#!lua flags=allow-oom
--[[ Writes an event that changes no state into the story of a VM.
  KEYS[1] record   KEYS[2] events
  ARGV[1] { vmId, token? (then only the launch that owns the VM may), type, data, eventsMax, nonce }
  `nonce` makes a resent command harmless. Returns 1 written, 0 not: no record, or not the owner's. ]]
--#include record
local args = cjson.decode(ARGV[1])
local record = redis.call("HMGET", KEYS[1], "state", "token", "lastNote")
if not record[1] then return 0 end
if record[3] == args.nonce then return 1 end
if args.token and args.token ~= cjson.null and record[2] ~= args.token then return 0 end
redis.call("HSET", KEYS[1], "lastNote", args.nonce)
emit(KEYS[1], KEYS[2], args.vmId, args.type, args.data, args.eventsMax, nowMs())
return 1
