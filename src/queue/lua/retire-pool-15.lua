#!lua flags=allow-oom
--[[ RETIRE: a queue that is whole empty goes, with its place in the set of pools: of VMs with memory classes and labels
  there are as many queues as people think of. While any accepted VM still has no job, nothing goes. Its next VM brings
  the pool back (ACCEPT), so that nothing is lost by it. A paused queue stays: that it is paused stands in it.
  KEYS[1] pools   KEYS[2] pending-jobs   KEYS[3] wait   KEYS[4] active   KEYS[5] paused   KEYS[6] prioritized
  KEYS[7] delayed   KEYS[8] completed   KEYS[9] failed   KEYS[10] meta   KEYS[11] id   KEYS[12] pc   KEYS[13] marker
  KEYS[14] events   KEYS[15] fairness of the pool
  ARGV[1] { pool, classes = how many there are }
  Returns 1 gone, 0 not. ]]
local args = cjson.decode(ARGV[1])
if redis.call("ZCARD", KEYS[2]) > 0 then return 0 end
for key = 3, 9 do
  if redis.call("EXISTS", KEYS[key]) == 1 then return 0 end
end
if redis.call("HEXISTS", KEYS[10], "paused") == 1 then return 0 end
redis.call("SREM", KEYS[1], args.pool)
for key = 10, 15 do redis.call("DEL", KEYS[key]) end
for class = 0, args.classes - 1 do redis.call("DEL", KEYS[15] .. ":" .. class) end
return 1
