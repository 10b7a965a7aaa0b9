--[[
release: give claimed jobs back to the front, in their old order, without using an attempt.

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
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
ROWS
  id           str     the first row is the job to run first
  token        str     of the claim
  fence        int     `ats` of the claim
RETURNS
  for each refused row: its number from 0, then 1 lost (another claim holds the job), 2 missing or 3 done before by this claim
  Sent again it answers 1: this claim no longer holds the job.
]]
local meta, wait, paused, active, prioritized, pc, stalled, marker, events, jobs = unpack(KEYS)
local stride, first = 3, 2

--@include read_limits
--@include emit
--@include check_types
--@include check_claims
--@include unlock
--@include merge_paused
--@include enqueue

local is_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc }
check_types(events, { wait, active, queue.paused_list or nil }, { prioritized }, marker, { stalled }, { pc })
local good, fields, refused = check_claims(jobs, active, ARGV, first, stride)
if #good == 0 then return refused end

unlock(jobs, stalled, ARGV, good)
local ids, priorities = {}, {}
for n, i in ipairs(good) do
  ids[n], priorities[n] = ARGV[i], fields[i][PRIORITY]
end
enqueue(queue, ids, priorities, true)
for _, id in ipairs(ids) do
  redis.call('HDEL', jobs .. id, 'owner')
  redis.call('LREM', active, -1, id)
  emit('waiting', 'jobId', id, 'prev', 'active')
end
if not is_paused and room + #good > 0 then redis.call('ZADD', marker, 0, '0') end
return refused
