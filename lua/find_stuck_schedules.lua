--[[
find_stuck_schedules: find schedules, due soon or overdue, whose next run does not exist or has ended: it was lost, or it ran without
adding the run after it.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  prioritized  zset    ids by priority
  delayed      zset    ids by due time
  repeat       zset    schedules by the time of their next run, ms
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  interval     int     ms between the checks of all workers together
  skip         int     schedules that this check has read already
  count        int     schedules to read in this call
RETURNS
  for each: its id, the time of its run, and 1 if that run never started, else 0; then how many to skip in the next call of this check,
  or -1 when it is done, or another worker has done it
  Sent again it answers -1.
]]
local wait, paused, prioritized, delayed, schedules, jobs = unpack(KEYS)
local now, interval, skip, count = unpack(ARGV)
skip, count = tonumber(skip), tonumber(count)

--@include clock
--@include job_exists
--@include find_waiting
--@include checked_recently

now = clock(now)
local checked_at = jobs .. 'corral:schedules:looked'
if skip == 0 and checked_recently(checked_at, now, interval) then return { {}, -1 } end
local queue = { wait = wait, paused = paused, prioritized = prioritized, delayed = delayed, jobs = jobs }
-- Soon is two intervals: a lost run is replaced before it is due.
local found = redis.call('ZRANGEBYSCORE', schedules, 0, now + 2 * interval, 'WITHSCORES', 'LIMIT', skip, count)
local reach, walk = 100000, redis.call('LLEN', wait) + redis.call('LLEN', paused)
local stuck = {}
for i = 1, #found, 2 do
  local id, due = found[i], string.format('%.0f', found[i + 1])
  local stored = redis.pcall('HMGET', jobs .. 'repeat:' .. id, 'ic', 'ended')
  -- Without `ic` it is one of BullMQ 5's repeatable jobs, whose data only its runs have.
  if not stored.err and stored[1] and not stored[2] then
    local run = 'repeat:' .. id .. ':' .. due
    local started = redis.pcall('HGET', jobs .. run, 'processedOn')
    if type(started) == 'table' then
      stuck[#stuck + 1] = { id, due, 0 }
    elseif started then
      -- Its worker is about to add the next run.
      if tonumber(started) < now - interval then stuck[#stuck + 1] = { id, due, 0 } end
    elseif not job_exists(jobs, run) then
      -- It may have run and been deleted, but not before its time.
      stuck[#stuck + 1] = { id, due, tonumber(due) > now and 1 or 0 }
    elseif tonumber(due) <= now and reach > 0 then
      reach = reach - walk
      if not find_waiting(queue, run) then stuck[#stuck + 1] = { id, due, 1 } end
    end
  end
end
if skip == 0 and #found > 0 then redis.call('SET', checked_at, now, 'PX', interval) end
return { stuck, #found < 2 * count and -1 or skip + count - #stuck }
