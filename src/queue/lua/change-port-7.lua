#!lua flags=allow-oom
--[[ The port of a launch turned out to be taken by a foreign process: it is set aside and the next one is taken, within
  the same attempt. Idempotent: the port that is changed must still be the record's.
  KEYS[1] record   KEYS[2] events   KEYS[3] ports   KEYS[4] ports-lru   KEYS[5] ports-aside   KEYS[6] job   KEYS[7] mark
  ARGV[1] { vmId, host, epoch, token, holder, port, asideMs, range, eventsMax, progress }
  Returns { code, port, free }: 1 changed, 0 no port is free (the old one is given back and set aside),
  -2 not the owner. ]]
--#include record
--#include ports
local args = cjson.decode(ARGV[1])
local now = nowMs()
local record = redis.call("HMGET", KEYS[1], "host", "epoch", "token", "port")
if record[1] ~= args.host or tonumber(record[2] or "-1") ~= args.epoch or record[3] ~= args.token then
  return { -2, 0, freePorts(KEYS[3], KEYS[5], args.range, now) }
end
if record[4] and tonumber(record[4]) ~= args.port then
  return { 1, tonumber(record[4]), freePorts(KEYS[3], KEYS[5], args.range, now) }
end
givePort(KEYS[3], KEYS[4], args.port, args.vmId, args.holder)
redis.call("ZADD", KEYS[5], now + args.asideMs, args.port)
local port = takePort(KEYS[3], KEYS[4], KEYS[5], args.range, args.vmId, args.holder, now)
local free = freePorts(KEYS[3], KEYS[5], args.range, now)
if port < 0 then
  redis.call("HDEL", KEYS[1], "port")
  return { 0, 0, free }
end
redis.call("HSET", KEYS[1], "port", port)
showProgress(KEYS[6], args.progress)
emit(KEYS[1], KEYS[2], args.vmId, "vm.port_changed",
  cjson.encode({ host = args.host, epoch = args.epoch, port = port, setAside = args.port }), args.eventsMax, now)
return { 1, port, free }
