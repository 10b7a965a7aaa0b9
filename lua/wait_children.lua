--[[
wait_children: let a claimed job wait for its children, and run again when they are done. Children that its run gathered are added first.

MOVES    active -> waiting-children, active -> wait, active -> paused, active -> prioritized
CAUSES   release_parents, insert_flow, merge_paused
EMITS    waiting-children, waiting, added, delayed, duplicated

KEYS
  meta              hash    of the queue
  wait              list    ids without a priority
  paused            list    the same while the queue is paused
  active            list    ids of running jobs
  prioritized       zset    ids by priority
  pc                counter that keeps one priority first in, first out
  waiting_children  zset    parents with open children
  stalled           set     ids that a BullMQ worker marked as possibly stalled
  marker            zset    wakes idle workers
  events            stream
  jobs              prefix  of the job hashes; the script appends an id
ARGV
  now               int     ms, or empty for the server's time
  id                str
  token             str     of the claim
  fence             int     `ats` of the claim
ROWS
  queue        prefix  of the keys of the job's queue
  id           str     chosen by the producer, or empty for a number
  name         str
  data         bytes   JSON
  opts         bytes   JSON
  timestamp    int     ms, or empty for now
  delay        int     ms after `timestamp`; of a job with children, ms after they are done
  priority     int     1 first; 0 is none
  lifo         int     1: to the front of the jobs without a priority
  parent       str     key of the parent, or empty
  link         bytes   JSON for the field `parent`: that job, and flags for a failure of this one
  also         bytes   keys of further parents, one a line, or empty
  waits        int     1: children of this job follow among the rows
RETURNS
  0 it waits for its children; or all are done, and it is enqueued at the front
  1 lost, 2 missing, 4 a child failed that it needs, 5 all are done, and were when it asked before, 6 a job of a child's id exists and is
  the child of another; nothing was written
  Sent again it answers 1: this claim no longer holds the job.
]]
local meta, wait, paused, active, prioritized, pc, waiting_children, stalled, marker, events, jobs = unpack(KEYS)
local now, id, token, fence = unpack(ARGV, 1, 4)
local first = 5

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include check_claims
--@include unlock
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include release_parents
--@include insert_flow

now = clock(now)
local is_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc }
check_types(events, { wait, active, queue.paused_list or nil }, { prioritized, waiting_children }, marker, { stalled }, { pc })
local claim = { id, token, fence }
local good, fields, refused = check_claims(jobs, active, claim, 1, 3)
if #good == 0 then return refused[2] end
local job = jobs .. id
if redis.call('ZCARD', job .. ':unsuccessful') > 0 then return 4 end
local flow = release_parents(now)
local plan, _, code = plan_flow(flow, ARGV, first)
if not plan then return code end
local open, done = redis.call('SCARD', job .. ':dependencies'), redis.call('HLEN', job .. ':processed') + redis.call('HLEN', job .. ':failed')
-- A job that asks again although no child has ended since would run forever.
if #plan == 0 and open == 0 and redis.call('HGET', job, 'waited') == tostring(done) then return 5 end

unlock(jobs, stalled, claim, good)
insert_flow(flow, ARGV, plan, now)
if redis.call('SCARD', job .. ':dependencies') > 0 then
  redis.call('ZADD', waiting_children, now, id)
  redis.call('HDEL', job, 'owner', 'waited')
  emit('waiting-children', 'jobId', id, 'prev', 'active')
else
  redis.call('HSET', job, 'waited', done)
  redis.call('HDEL', job, 'owner')
  enqueue(queue, { id }, { fields[1][PRIORITY] }, true)
  emit('waiting', 'jobId', id, 'prev', 'active')
end
redis.call('LREM', active, -1, id)
if not is_paused and room + 1 > 0 then redis.call('ZADD', marker, 0, '0') end
return 0
