#!lua
--[[ REPLACE_BOX: puts another box of the same secrets in the place of a waiting one. A box that has gone or changed
  meanwhile is left as it is; the time that it is kept for stays.
  KEYS[1] box
  ARGV[1] { old, new }
  Returns 1, or 0 when the box is another by now. A resent call finds its own box and returns 1. ]]
local args = cjson.decode(ARGV[1])
local box = redis.call("GET", KEYS[1])
if box == args.new then return 1 end
if box ~= args.old then return 0 end
redis.call("SET", KEYS[1], args.new, "KEEPTTL")
return 1
