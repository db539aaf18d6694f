#!lua
--[[ BATCH_REPLACE_BOX: as REPLACE_BOX, for a box in the manifest of a batch.
  KEYS[1] hash that holds it
  ARGV[1] { field, old, new }
  Returns 1, or 0 when the box is another by now. A resent call finds its own box and returns 1. ]]
local args = cjson.decode(ARGV[1])
local box = redis.call("HGET", KEYS[1], args.field)
if box == args.new then return 1 end
if box ~= args.old then return 0 end
redis.call("HSET", KEYS[1], args.field, args.new)
return 1
