#!lua flags=allow-oom
--[[ NOTE_LAUNCH_FILES: what was found out of the files of a failed launch, after its end was published. Nothing for a VM
  whose records are deleted meanwhile.
  KEYS[1] tail
  ARGV[1] { field, text }
  Returns 1, or 0 when nothing is kept of the VM any more. ]]
local args = cjson.decode(ARGV[1])
if redis.call("EXISTS", KEYS[1]) == 0 then return 0 end
redis.call("HSET", KEYS[1], args.field, args.text)
return 1
