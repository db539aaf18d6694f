#!lua flags=allow-oom
--[[ BATCH_RECOUNT: counts live items by what their records say, for ends that nobody has counted: those of a worker that
  knows no batches, and those that a Redis has lost. An item listed again whose retry was refused has failed as before.
  KEYS[1] batch   KEYS[2] events
  ARGV[1] { batchId, items = [{ index, record }] }
  Returns how many stood wrong. ]]
--#include record
local args = cjson.decode(ARGV[1])
local now = nowMs()
local prefix = prefixOf(KEYS[2])
local mended = 0
for _, item in ipairs(args.items) do
  local was = letterOf(KEYS[1], item.index)
  if was == LETTERS.again then
    local ended = redis.call("HGET", KEYS[1] .. ":ends", item.index)
    local how = ended and cjson.decode(ended) or {}
    countItem(prefix, args.batchId, item.index, "failed",
      { host = how[2] or nil, cause = how[3] or "failed", exitCode = how[4] or nil }, now)
  elseif redis.call("EXISTS", item.record) == 1 then
    -- A record that its host has made again from its job says nothing of the batch.
    redis.call("HSET", item.record, "batch", args.batchId, "item", item.index)
    countVm(item.record, prefix, now)
  elseif was ~= "" and not ENDED[ITEM_STATES[was]] and was ~= LETTERS.listed then
    countItem(prefix, args.batchId, item.index, "removed", {}, now)
  end
  if letterOf(KEYS[1], item.index) ~= was then mended = mended + 1 end
end
return mended
