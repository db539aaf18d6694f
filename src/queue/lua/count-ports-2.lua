#!lua flags=no-writes
--[[ COUNT_PORTS: how many ports of the range could be taken now.
  KEYS[1] ports   KEYS[2] ports-aside
  ARGV[1] { range = { first, last, reserved } }
  Returns the number. ]]
--#include record
--#include ports
local args = cjson.decode(ARGV[1])
return freePorts(KEYS[1], KEYS[2], args.range, nowMs())
