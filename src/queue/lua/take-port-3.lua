#!lua
--[[ TAKE_PORT: take a port of this machine for a launch. Idempotent per VM, epoch and token.
  KEYS[1] ports   KEYS[2] ports-lru   KEYS[3] ports-aside
  ARGV[1] { vmId, holder, range = { first, last, reserved } }
  Returns { port, free }; port is -1 when none is free, -2 when another launch of the VM holds one. ]]
--#include record
--#include ports
local args = cjson.decode(ARGV[1])
local port = takePort(KEYS[1], KEYS[2], KEYS[3], args.range, args.vmId, args.holder, nowMs())
return { port, freePorts(KEYS[1], KEYS[3], args.range, nowMs()) }
