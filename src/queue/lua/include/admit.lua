-- Writes a VM in state queued, epoch 0, with its place in the fair queue. Shared by ACCEPT and FEED, which have looked
-- that there is none of the id. Needs `record` and `fairness`.
--   keys { record, events, states (prefix), vms, owned, box, pending, deadlines, fairness, pools, prioritized }
--   args { vmId, digest, owner, pool, class, classes, classWidth, fields, sealed?, queueTimeoutMs?, eventData, eventsMax }
-- Returns the priority of its job.
local function admit(keys, args, now)
  -- Start-time fair queueing: an owner's next VM starts no earlier than the owner's last one ended in virtual time, and
  -- the clock is the start tag of what was fetched last. So a single VM of another owner waits behind one VM of each
  -- owner, not behind 100,000 of one.
  local class = classOf(args.classes, args.class)
  local tag, base = nextTag(keys.fairness, keys.prioritized, keys.pending, class, args.classWidth, args.owner)
  local priority = digits(priorityOfTag(class, args.classWidth, tag, base))

  redis.call("HSET", keys.record, "vmId", args.vmId, "state", "queued", "epoch", 0, "seq", 0, "digest", args.digest,
    "createdAtMs", digits(now), "stateAtMs", digits(now), "jobPriority", priority, "tag", digits(tag))
  writeFields(keys.record, args.fields)
  if args.sealed and args.sealed ~= cjson.null then redis.call("SET", keys.box, args.sealed) end
  if args.queueTimeoutMs and args.queueTimeoutMs ~= cjson.null then
    redis.call("HSET", keys.record, "queueDeadlineAtMs", digits(now + args.queueTimeoutMs))
    redis.call("ZADD", keys.deadlines, now + args.queueTimeoutMs, "q:" .. args.vmId)
  end
  redis.call("ZADD", keys.states .. "queued", now, args.vmId)
  redis.call("ZADD", keys.vms, now, args.vmId)
  redis.call("ZADD", keys.owned, now, args.vmId)
  redis.call("ZADD", keys.pending, now, args.vmId)
  redis.call("SADD", keys.pools, args.pool)
  emit(keys.record, keys.events, args.vmId, "vm.queued", args.eventData, args.eventsMax, now)
  return priority
end
