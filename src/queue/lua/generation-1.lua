#!lua flags=allow-oom
--[[ GENERATION: which life of the data this is, and whether it is one that the asker knows. Every question counts one up,
  so that data put back from an earlier time shows: its count is below what the asker was told last. Then, and where
  there is no generation, a new one begins, so that all others see it too, whenever they ask.
  KEYS[1] generation (a hash: id, previous, count)
  ARGV[1] { candidate (id of a new generation), known? = { id, count } }
  Returns { id, count, "first" | "same" | "behind" | "lost" } ]]
local args = cjson.decode(ARGV[1])
local known = args.known ~= cjson.null and args.known or nil
local function begin(previous)
  redis.call("DEL", KEYS[1])
  redis.call("HSET", KEYS[1], "id", args.candidate, "previous", previous)
  return args.candidate
end
local stored = redis.call("HMGET", KEYS[1], "id", "previous", "count")
local id, verdict = stored[1], known and "same" or "first"
local count = tonumber(stored[3] or "0")
if not id then
  id = begin("")
  if known then verdict = "lost" end
elseif known and known.id ~= id then
  verdict = known.id == stored[2] and "behind" or "lost"
elseif known and count < known.count then
  id = begin(id)
  verdict = "behind"
end
return { id, redis.call("HINCRBY", KEYS[1], "count", 1), verdict }
