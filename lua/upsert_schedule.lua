--[[
upsert_schedule: create or change a schedule, and add its next run, which replaces the pending one.

MOVES    new -> wait, new -> paused, new -> prioritized, new -> delayed, wait -> gone, paused -> gone,
  prioritized -> gone, delayed -> gone
CAUSES   merge_paused
EMITS    added, waiting, delayed, removed

KEYS
  meta         hash    of the queue
  id           counter of the jobs ever added
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  repeat       zset    schedules by the time of their next run, ms
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  schedule     str     its id
  due          int     time of the next run as the caller read it; empty: the schedule does not exist
  keep         int     1: a pending run keeps its time, because the schedule's times did not change
  times        str     for the next run otherwise, ms, the best first, separated by commas
  name         str     of its jobs
  data         bytes   JSON
  head         bytes   JSON, the options of the run, up to the time in its id
  priority     int     of its jobs
  lifo         int     1: a run that is due at once goes to the front
ROWS
  field        str     of the schedule's hash; other fields are deleted, except the engine's count of runs
  value        bytes
RETURNS
  0 and the time of the next run
  1 changed since the caller read it: read again; 2 at each of the times a run has already started; nothing was written
  Sent again it answers 1, or does the same again: the pending run is replaced by an equal one.
]]
local meta, counter, wait, paused, active, prioritized, pc, delayed, schedules, marker, events, jobs = unpack(KEYS)
local now, schedule, due, keep, times, name, data, head, priority, lifo = unpack(ARGV)

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include merge_paused
--@include enqueue
--@include delete_jobs
--@include find_waiting
--@include next_free_time
--@include delete_run
--@include make_run

local is_paused, room, max_events, mode = read_limits(meta, active)
check_types(events, { wait, paused }, { prioritized, delayed, schedules }, marker, {}, { pc })
local queue = { paused_list = is_paused and paused, wait = wait, paused = paused, prioritized = prioritized, pc = pc, delayed = delayed,
  marker = marker, jobs = jobs, emit = emitter(events, max_events, mode), now = clock(now), may_start = not is_paused and room > 0 }
local hash, prefix = jobs .. 'repeat:' .. schedule, 'repeat:' .. schedule .. ':'
local score = redis.call('ZSCORE', schedules, schedule)
if (score and string.format('%.0f', score) or '') ~= due then return { 1 } end
local was = redis.call('HMGET', hash, 'ic', 'running', 'queued')
local structure = due ~= '' and redis.call('EXISTS', jobs .. prefix .. due .. ':lock') == 0 and find_waiting(queue, prefix .. due)
local time = keep == '1' and structure and due or next_free_time(jobs, prefix, times)
if not time then return { 2 } end
-- A run that waits at that time, though it is not the schedule's next: BullMQ may leave one.
local other = time ~= due and find_waiting(queue, prefix .. time)

redis.call('INCR', counter)
redis.call('DEL', hash)
for i = 11, #ARGV, 2 do redis.call('HSET', hash, ARGV[i], ARGV[i + 1]) end
-- The count goes on, as in BullMQ; a limit counts from here.
local count = tonumber(was[1]) or 1
redis.call('HSET', hash, 'ic', count, 'before', count - 1)
if was[2] then redis.call('HSET', hash, 'running', was[2]) end
if was[3] then redis.call('HSET', hash, 'queued', was[3]) end
if structure then
  delete_run(queue, prefix .. due, structure)
  if time ~= due then queue.emit('removed', 'jobId', prefix .. due, 'prev', structure) end
end
if other then delete_run(queue, prefix .. time, other) end
make_run(queue, schedule, time, { prefix = prefix, name = name, data = data, head = head, priority = priority, lifo = lifo })
redis.call('ZADD', schedules, time, schedule)
return { 0, time }
