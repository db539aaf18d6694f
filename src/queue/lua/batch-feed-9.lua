#!lua
--[[ BATCH_FEED: listed items become VMs in the queue, as many as the window of their batch has room for. Their jobs are
  added after this, outside, as after ACCEPT. Safe with any number of feeders: what is not listed any more is passed over.
  KEYS[1] batch   KEYS[2] events   KEYS[3] prefix of the state sets   KEYS[4] vms   KEYS[5] vms of the owner
  KEYS[6] pending-jobs   KEYS[7] deadlines   KEYS[8] pools   KEYS[9] states of the batch
  ARGV[1] { batchId, owner, window, from (`next` of the batch as the feeder read it), next (where to look for the next
            listed item), classes, classWidth, eventsMax, items = [what admit takes, and { index, record, box, mark,
            fairness, prioritized }] in order of their index }
  Returns the index and the job's priority of each item whose job is to be added, in turn. ]]
--#include record
--#include fairness
--#include admit
local args = cjson.decode(ARGV[1])
local now = nowMs()
local prefix = prefixOf(KEYS[2])
local fed = {}
local batch = redis.call("HMGET", KEYS[1], "state", "next")
if batch[1] ~= "active" then return fed end
local room = args.window - liveItems(KEYS[1])
local passed = true -- whether every item that was given needs no second look
for _, item in ipairs(args.items) do
  local letter = letterOf(KEYS[1], item.index)
  if letter == LETTERS.queued and redis.call("ZSCORE", KEYS[6], item.vmId) then
    fed[#fed + 1] = item.index -- the reply was lost and the command sent again, or another feeder died in between
    fed[#fed + 1] = redis.call("HGET", item.record, "jobPriority")
  elseif letter == LETTERS.listed then
    if room < 1 then
      passed = false
      break
    end
    if redis.call("EXISTS", item.record) == 1 then -- put back by its host, after Redis had lost what it knew
      redis.call("HSET", item.record, "batch", args.batchId, "item", item.index)
      countVm(item.record, prefix, now)
    elseif redis.call("EXISTS", item.mark) == 1 then
      countItem(prefix, args.batchId, item.index, "removed", {}, now)
    else
      item.owner, item.classes, item.classWidth, item.eventsMax = args.owner, args.classes, args.classWidth, args.eventsMax
      local priority = admit({ record = item.record, events = KEYS[2], states = KEYS[3], vms = KEYS[4], owned = KEYS[5],
        box = item.box, pending = KEYS[6], deadlines = KEYS[7], fairness = item.fairness, pools = KEYS[8],
        prioritized = item.prioritized }, item, now)
      redis.call("HDEL", KEYS[1] .. ":boxes", item.index) -- its VM has a box of its own now
      fed[#fed + 1] = item.index
      fed[#fed + 1] = priority
    end
    room = room - 1
  end
end
-- Only from where the feeder began: a retry may have listed an earlier item since.
if passed and batch[2] == digits(args.from) then redis.call("HSET", KEYS[1], "next", args.next) end
return fed
