--[[
remove_deduplication: free a deduplication id, so that the next add makes a job. The job that was kept until its owner ends is added now.

MOVES    none
CAUSES   promote_deduplicated, merge_paused
EMITS    added, waiting, delayed, duplicated

KEYS
  meta           hash    of the queue
  wait           list    ids without a priority
  paused         list    the same while the queue is paused
  active         list    ids of running jobs
  prioritized    zset    ids by priority
  pc             counter that keeps one priority first in, first out
  delayed        zset    ids by due time
  marker         zset    wakes idle workers
  events         stream
  jobs           prefix  of the job hashes; the script appends an id
ARGV
  now            int     ms, or empty for the server's time
  deduplication  str     its id
  owner          str     free it only if this job owns it; empty for any
RETURNS
  1 it is free now
  0 it was free, or belongs to another job; nothing was written
  Sent again it answers 0.
]]
local meta, wait, paused, active, prioritized, pc, delayed, marker, events, jobs = unpack(KEYS)
local now, deduplication, owner = unpack(ARGV)

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include merge_paused
--@include enqueue
--@include promote_deduplicated

local is_paused, _, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, { wait, is_paused and paused or nil }, { prioritized, delayed }, marker, {}, { pc })
local owner_key = jobs .. 'de:' .. deduplication
local owned_by = redis.call('GET', owner_key)
if not owned_by or (owner ~= '' and owner ~= owned_by) then return 0 end

local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker, jobs = jobs,
  emit = emit }
promote_deduplicated(queue, deduplication, string.format('%d', clock(now)))
-- Last, so that an aborted call can be sent again. The promoted job does not own the id either: the caller wants the next add to make
-- a job.
redis.call('DEL', owner_key)
return 1
