--[[
page: show jobs of one state, in the order in which they run, are due or finished.

MOVES    none
EMITS    none

KEYS
  wait              list    ids without a priority
  paused            list    the same while the queue is paused
  active            list    ids being run
  prioritized       zset    ids by priority
  delayed           zset    ids by due time
  waiting_children  zset    parents whose children are not all done
  completed         zset    ids by finish time, ms
  failed            zset    ids by finish time, ms
  jobs              prefix  of the job hashes; the script appends an id
ARGV
  now               int     ms, or empty for the server's time
  state             str     a structure, or `waiting` for wait and paused together
  start             int     jobs passed over
  count             int     jobs shown at most
  ascending         int     1: next to run, next due or oldest first; 0: the other way
RETURNS
  rows as `get` gives them, but for the state; of an id without a hash just the id
]]
local wait, paused, active, prioritized, delayed, waiting_children, completed, failed, jobs = unpack(KEYS)
local _, state, start, count, ascending = unpack(ARGV)
start, count = tonumber(start), tonumber(count)

--@include snapshot

-- In the order in which they run: a resume puts paused jobs before those that wait.
local lists = { wait = { wait }, paused = { paused }, active = { active }, waiting = { paused, wait } }
local zsets = { prioritized = prioritized, delayed = delayed, ['waiting-children'] = waiting_children, completed = completed,
  failed = failed }

local ids = {}
if zsets[state] then
  ids = redis.call(ascending == '1' and 'ZRANGE' or 'ZREVRANGE', zsets[state], start, start + count - 1)
else
  local from = lists[state]
  for n = 1, #from do
    local list = from[ascending == '1' and n or #from + 1 - n]
    -- The tail runs first, so ascending is from the tail.
    local low, high = start, start + count - #ids - 1
    if ascending == '1' then low, high = -high - 1, -low - 1 end
    local found = high < low and {} or redis.call('LRANGE', list, low, high)
    for i = 1, #found do ids[#ids + 1] = found[ascending == '1' and #found + 1 - i or i] end
    start = math.max(0, start - redis.call('LLEN', list))
  end
end
local rows = {}
for i, id in ipairs(ids) do rows[i] = snapshot(jobs, id) or { id } end
return rows
