--[[
rate_limit: give back claimed jobs that met an external rate limit, without using an attempt, and let no job start until it is over.

MOVES    active -> wait, active -> paused, active -> prioritized
CAUSES   merge_paused
EMITS    waiting

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  stalled      set     ids that a BullMQ worker marked as possibly stalled
  limiter      counter of the jobs that started in the window of a rate limit; 2^53 - 1 while no job may start
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
ROWS
  id           str     the first row is the job to run first
  token        str     of the claim
  fence        int     `ats` of the claim
  ms           int     until jobs may start again, 1 at least
RETURNS
  for each refused row: its number from 0, then 1 lost (another claim holds the job), 2 missing or 3 done before by this claim
  Sent again it answers 1, and the hold is not extended.
]]
local meta, wait, paused, active, prioritized, pc, stalled, limiter, marker, events, jobs = unpack(KEYS)
local stride, first = 4, 2

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include check_claims
--@include unlock
--@include merge_paused
--@include enqueue

local now = clock(ARGV[1])
local is_paused, room, max_events, mode, limits = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc }
check_types(events, { wait, active, queue.paused_list or nil }, { prioritized }, marker, { stalled }, { pc, limiter })
local good, fields, refused = check_claims(jobs, active, ARGV, first, stride)
if #good == 0 then return refused end

unlock(jobs, stalled, ARGV, good)
local ids, priorities, longest = {}, {}, 0
for n, i in ipairs(good) do
  ids[n], priorities[n] = ARGV[i], fields[i][PRIORITY]
  longest = math.max(longest, tonumber(ARGV[i + 3]))
end
enqueue(queue, ids, priorities, true)
for _, id in ipairs(ids) do
  redis.call('HDEL', jobs .. id, 'owner')
  redis.call('LREM', active, -1, id)
  emit('waiting', 'jobId', id, 'prev', 'active')
end
local hold = math.max(now + longest, limits and limits.hold or 0)
redis.call('HSET', meta, 'hold', string.format('%.0f', hold))
-- BullMQ's workers honour this value if the queue or the worker has a rate limit.
redis.call('SET', limiter, '9007199254740991', 'PX', string.format('%.0f', hold - now))
-- Wakes a worker for the free slots: its claim returns how long no job may start.
if not is_paused and room + #good > 0 then redis.call('ZADD', marker, 0, '0') end
return refused
