--[[
change_delay: change the due time of a delayed job.

MOVES    delayed -> delayed
CAUSES   none
EMITS    delayed

KEYS
  meta     hash    of the queue
  active   list    ids of running jobs
  delayed  zset    ids by due time
  marker   zset    wakes idle workers
  events   stream
  jobs     prefix  of the job hashes; the script appends an id
ARGV
  now      int     ms, or empty for the server's time
  id       str
  delay    int     ms from now
RETURNS
  0 done
  1 not delayed, 2 missing; nothing was written
  Sent again it counts the delay from the second call.
]]
local meta, active, delayed, marker, events, jobs = unpack(KEYS)
local now, id, delay = unpack(ARGV)

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include job_exists
--@include due

local _, _, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, {}, { delayed }, marker)
if not job_exists(jobs, id) then return 2 end
if not redis.call('ZSCORE', delayed, id) then return 1 end

local due = clock(now) + delay
redis.call('HSET', jobs .. id, 'delay', delay)
redis.call('ZADD', delayed, due_score(delayed, due, {}), id)
emit('delayed', 'jobId', id, 'delay', due)
mark_due(delayed, marker)
return 0
