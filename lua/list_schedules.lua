--[[
list_schedules: return schedules: by ids, by page in the order of their next runs, or the schedule of a run.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  delayed  zset    ids by due time
  repeat   zset    schedules by the time of their next run, ms
  jobs     prefix  of the job hashes; the script appends an id
ARGV
  now      int     ms, or empty for the server's time
  first    int     rank of the first, from 0; empty where ids or a run are given
  last     int     rank of the last, -1 for the very last
  run      str     id of a job, to return its schedule; empty where ids or ranks are given
ROWS
  id       str     of a schedule
RETURNS
  the time in ms; then for each its id, the time of its next run, its hash as names and values in turn, and, if the hash has no data or
  no options, those of its next run; nil for a schedule that does not exist
]]
local delayed, schedules, jobs = unpack(KEYS)
local now, first, last, run = unpack(ARGV)

--@include clock
--@include pending

local ids, found = {}, {}
if first ~= '' then ids = redis.call('ZRANGE', schedules, first, last) end
for i = 5, #ARGV do ids[#ids + 1] = ARGV[i] end
if run ~= '' then
  local schedule = redis.pcall('HGET', jobs .. run, 'rjk')
  ids[1] = type(schedule) == 'string' and schedule or ''
end
local queue = { delayed = delayed, jobs = jobs, reach = 1000, runs = {} }
for i, id in ipairs(ids) do
  local due, fields = redis.call('ZSCORE', schedules, id), redis.pcall('HGETALL', jobs .. 'repeat:' .. id)
  found[i] = false
  if due and not fields.err then
    local has = {}
    for n = 1, #fields, 2 do has[fields[n]] = true end
    due = string.format('%.0f', due)
    local of_run = {}
    if run == '' and not (has.opts and has.data) then of_run = redis.pcall('HMGET', jobs .. pending(queue, id, due), 'data', 'opts') end
    found[i] = { id, due, fields, of_run[1], of_run[2] }
  end
end
return { clock(now), found }
