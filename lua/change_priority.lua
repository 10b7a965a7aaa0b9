--[[
change_priority: change the priority of a job, and its place if it waits.

MOVES    wait -> wait, wait -> paused, wait -> prioritized, paused -> wait, paused -> paused,
  paused -> prioritized, prioritized -> wait, prioritized -> paused, prioritized -> prioritized
CAUSES   none
EMITS    none

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  marker       zset    wakes idle workers
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  id           str
  priority     int     0 none, then 1 first
  lifo         int     1: to the front of those with the same priority
RETURNS
  0 done; a job that does not wait takes its place when it is enqueued
  2 missing; nothing was written
  Sent again it puts the job behind, or before, its equals a second time.
]]
local meta, wait, paused, active, prioritized, pc, marker, jobs = unpack(KEYS)
local _, id, priority, lifo = unpack(ARGV)
local front = lifo == '1'

--@include read_limits
--@include job_exists
--@include merge_paused
--@include enqueue

local is_paused, room = read_limits(meta, active)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc }
if not job_exists(jobs, id) then return 2 end
local ranked = redis.call('ZSCORE', prioritized, id)
local listed = not ranked and (redis.call('LPOS', wait, id) or redis.call('LPOS', paused, id))
redis.call('LLEN', wait)
redis.call('LLEN', paused)
redis.call('ZCARD', marker)
if not tonumber(redis.call('GET', pc) or 0) then error('a counter of the queue is not a number') end

redis.call('HSET', jobs .. id, 'priority', priority)
if not ranked and not listed then return 0 end
local list = enqueue(queue, { id }, { priority }, front)
if ranked then
  if list then redis.call('ZREM', prioritized, id) end
else
  -- Removes the old entry: from the list that did not get the new one, else from the other end.
  local end_of_old = front and 1 or -1
  local first, second = wait, paused
  if list == wait then first, second = paused, wait end
  if redis.call('LREM', first, end_of_old, id) == 0 then redis.call('LREM', second, end_of_old, id) end
end
if not is_paused and room > 0 then redis.call('ZADD', marker, 0, '0') end
return 0
