--[[
schedules: show schedules, by their ids or a page of them by the time of their next run.

MOVES    none
EMITS    none

KEYS
  repeat  zset    schedules by the time of their next run, ms
  jobs    prefix  of the job hashes; the script appends an id
ARGV
  now     int     ms, or empty for the server's time
  first   int     rank of the first, from 0; empty where ids are given
  last    int     rank of the last, -1 for the very last
ROWS
  id      str     of a schedule
RETURNS
  the time in ms; then for each its id, the time of its next run, and its hash, as names and values in turn; nil for one that is
  not there
]]
local schedules, jobs = unpack(KEYS)
local now, first, last = unpack(ARGV)

--@include clock

local ids, found = {}, {}
if first ~= '' then ids = redis.call('ZRANGE', schedules, first, last) end
for i = 4, #ARGV do ids[#ids + 1] = ARGV[i] end
for i, id in ipairs(ids) do
  local due, fields = redis.call('ZSCORE', schedules, id), redis.pcall('HGETALL', jobs .. 'repeat:' .. id)
  found[i] = due and not fields.err and #fields > 0 and { id, string.format('%.0f', due), fields } or false
end
return { clock(now), found }
