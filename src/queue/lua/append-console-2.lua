#!lua
--[[ APPEND_CONSOLE: appends to the bounded window of a live VM's console. Only the launch that owns the VM writes.
  KEYS[1] console   KEYS[2] record
  ARGV[1] { token, states, base64, maxBytes, ttlMs, bytes, skippedBytes, writer, count }
  `writer` counts what it appends, so that a resent command changes nothing.
  Returns the absolute offset after the chunk, or -2 when the writer does not own the VM, or it has ended: a late chunk
  must not bring a deleted window back. The window holds base64 of
  whole chunks: `data` is a list of chunks in one JSON-free text, each `<offset>:<base64>\n`. ]]
--#include record
local args = cjson.decode(ARGV[1])
local record = redis.call("HMGET", KEYS[2], "token", "state")
if record[1] ~= args.token or not contains(args.states, record[2]) then return -2 end
local window = redis.call("HMGET", KEYS[1], "end", "data", "writer", "count")
if window[3] == args.writer and tonumber(window[4]) >= args.count then return window[1] end
local finish = tonumber(window[1] or "0") + args.skippedBytes
local data = (window[2] or "") .. string.format("%.0f", finish) .. ":" .. args.base64 .. "\n"
finish = finish + args.bytes
-- Whole chunks are dropped from the front; base64 takes 4/3 of the bytes.
while #data > args.maxBytes * 4 / 3 do
  local cut = string.find(data, "\n", 1, true)
  if cut == nil or cut == #data then break end
  data = string.sub(data, cut + 1)
end
redis.call("HSET", KEYS[1], "end", string.format("%.0f", finish), "data", data, "writer", args.writer,
  "count", args.count)
redis.call("PEXPIRE", KEYS[1], args.ttlMs)
return string.format("%.0f", finish)
