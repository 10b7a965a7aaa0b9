--[[
promote_one: enqueue a delayed job before it is due.

MOVES    delayed -> wait, delayed -> paused, delayed -> prioritized
CAUSES   merge_paused
EMITS    waiting

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  id           str
RETURNS
  0 done
  1 not delayed, 2 missing; nothing was written
  Sent again it answers 1: the job waits.
]]
local meta, wait, paused, active, prioritized, pc, delayed, marker, events, jobs = unpack(KEYS)
local id = ARGV[2]

--@include read_limits
--@include emit
--@include check_types
--@include job_exists
--@include merge_paused
--@include enqueue

local is_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc }
check_types(events, { wait, queue.paused_list or nil }, { prioritized, delayed }, marker, {}, { pc })
if not job_exists(jobs, id) then return 2 end
if not redis.call('ZSCORE', delayed, id) then return 1 end

enqueue(queue, { id }, { redis.call('HGET', jobs .. id, 'priority') }, false)
redis.call('ZREM', delayed, id)
redis.call('HSET', jobs .. id, 'delay', 0)
emit('waiting', 'jobId', id, 'prev', 'delayed')
if not is_paused and room > 0 then redis.call('ZADD', marker, 0, '0') end
return 0
