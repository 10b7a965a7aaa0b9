--[[
recover_stalled: enqueue active jobs whose lock has expired, at the front: their worker is dead.

After an outage longer than a lock all locks have expired, and living workers need time to reconnect and renew theirs. The server tells
an outage from a death by the workers' calls of this script: in an outage there was none for longer than `gap`. Then no job is
recovered until workers have called it for `grace` ms without another such gap, even if they restart in between; a renewal of an
expired lock starts the grace again. If one worker dies or reconnects while another calls, there is no gap.

MOVES    active -> wait, active -> paused, active -> prioritized
CAUSES   merge_paused
EMITS    waiting, stalled, missing

KEYS
  meta           hash    of the queue
  wait           list    ids without a priority
  paused         list    the same while the queue is paused
  active         list    ids of running jobs
  prioritized    zset    ids by priority
  pc             counter that keeps one priority first in, first out
  stalled        set     ids that a BullMQ worker marked as possibly stalled
  stalled_check  str     time of the last recovery by any worker, ms
  watch          str     what the server has seen of all workers' checks (see include/watch)
  repeat         zset    schedules
  marker         zset    wakes idle workers
  events         stream
  jobs           prefix  of the job hashes; the script appends an id
ARGV
  now            int     ms, or empty for the server's time
  interval       int     ms between the recoveries of all workers together
  max_stalls     int     recoveries that a job may have; at the next one it fails
  gap            int     ms without a call after which workers may have been cut off: what a lock has left between two
                         renewals, less the time that workers need to reconnect
  grace          int     ms of calls before the next recovery then
  skip           int     ids at the old end of `active` that this recovery has read and left; empty in its first call
  count          int     ids to read in this call
RETURNS
  the recovered ids; ids to skip in the next call of this recovery, or -1 when it is done or not yet due; ms until the next is due:
  the interval, or less where a lock expires before
  Sent again it finds nothing more to do.
]]
local meta, wait, paused, active, prioritized, pc, stalled, stalled_check, watch, schedules, marker, events, jobs = unpack(KEYS)
local now, interval, max_stalls, gap, grace, skip, count = unpack(ARGV)
local begins = skip == ''
interval, gap, grace = tonumber(interval), tonumber(gap), tonumber(grace)
skip, count = tonumber(skip) or 0, tonumber(count)

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include merge_paused
--@include enqueue
--@include to_count
--@include checked_recently
--@include watch

now = clock(now)
local is_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc }
check_types(events, { wait, active, queue.paused_list or nil }, { prioritized, schedules }, marker, { stalled }, { pc })
local seen = read_watch(watch, now, gap, grace, redis.call('LLEN', active) > 0)
local is_recent = checked_recently(stalled_check, now, interval)
local not_due = seen.due and seen.due > now and seen.due - now <= interval
if begins and (seen.grace > 0 or not_due or is_recent and not (seen.due and now >= seen.due)) then
  if seen.is_stale then write_watch(watch, now, seen) end
  return { {}, -1, seen.grace > 0 and seen.grace or not_due and seen.due - now or interval }
end

local ids = redis.call('LRANGE', active, -skip - count, -skip - 1)
local locks, dead, lost, priorities, soonest = {}, {}, {}, {}, math.huge
for i, id in ipairs(ids) do locks[i] = jobs .. id .. ':lock' end
local tokens = #locks > 0 and redis.call('MGET', unpack(locks)) or {}
-- From the tail: the job that was claimed first goes back in front of the others.
for i = #ids, 1, -1 do
  if tokens[i] then
    local left = redis.call('PTTL', locks[i])
    if left >= 0 and left < soonest then soonest = left end
  else
    local job = redis.pcall('HMGET', jobs .. ids[i], 'ats', 'priority', 'stc', 'rjk', 'name')
    if job.err or not (job[1] or job[5]) then
      lost[#lost + 1] = ids[i]
    else
      dead[#dead + 1] = { id = ids[i], stalls = to_count(job[3]) + 1, schedule = job[4] }
      priorities[#dead] = job[2]
    end
  end
end

local back = {}
for i, job in ipairs(dead) do back[i] = job.id end
-- PEXPIRE and SREM first: a full server refuses SET as the first write, and must recover dead workers' jobs.
if begins then redis.call('PEXPIRE', watch, WATCH_KEPT) end
if #back > 0 then redis.call('SREM', stalled, unpack(back)) end
if #lost > 0 then redis.call('SREM', stalled, unpack(lost)) end
if begins then
  -- BullMQ workers check only while this key does not exist. It expires before our next recovery, and those at the end of a lock do not
  -- extend it, so that BullMQ's workers get their turn.
  if not is_recent then redis.call('SET', stalled_check, string.format('%.0f', now), 'PX', math.ceil(interval * 0.9)) end
  seen.due = now + interval
end
-- At the end of the next lock, so that a death is detected at once; but not sooner than a fifth of the interval, as many locks end.
local due = now + math.max(soonest + 1, math.ceil(interval / 5))
if begins or due < (seen.due or 0) then
  seen.due = math.min(seen.due, due)
  write_watch(watch, now, seen)
end
if #back > 0 then enqueue(queue, back, priorities, true) end
for _, job in ipairs(dead) do
  redis.call('HSET', jobs .. job.id, 'stc', job.stalls)
  redis.call('HDEL', jobs .. job.id, 'owner')
  -- The run of a schedule is exempt: the next run depends on it.
  if job.stalls > tonumber(max_stalls) and not (job.schedule and redis.call('ZSCORE', schedules, job.schedule)) then
    redis.call('HSET', jobs .. job.id, 'defa', 'job stalled more than allowable limit')
  end
  redis.call('LREM', active, -1, job.id)
  emit('waiting', 'jobId', job.id, 'prev', 'active')
  emit('stalled', 'jobId', job.id)
end
for _, id in ipairs(lost) do
  redis.call('LREM', active, -1, id)
  emit('missing', 'jobId', id)
end
-- An id without a hash frees a slot too, which matters under a global concurrency.
room = room + #back + #lost
if not is_paused and room > 0 and (#back > 0 or #lost > 0 and room < math.huge) then redis.call('ZADD', marker, 0, '0') end
return { back, #ids < count and -1 or skip + #ids - #back - #lost, math.max(1, (seen.due or now + interval) - now) }
