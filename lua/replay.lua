--[[
replay: enqueue the jobs of dead letters again, as if they had never run.

MOVES    failed -> wait, failed -> paused, failed -> prioritized, new -> wait, new -> paused,
  new -> prioritized
CAUSES   merge_paused
EMITS    added, waiting

KEYS
  meta         hash    of the queue
  id           counter of the jobs ever added
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  failed       zset    ids by finish time, ms
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  by           str     id of this replay, chosen by the caller: the same in each send of one call
ROWS
  id           str     of the job
  at           int     time of the failure in the letter that the caller read, ms; empty for any
  edited       int     1: the job gets the data of this row, 0: that of the letter
  data         bytes   JSON
RETURNS
  for each refused row: its number from 0, then 1 replayed before, 2 no letter, 3 a job of this id exists and has not failed, 4 the
  letter is of a later failure
  A job whose hash exists keeps it; else a job is added from the letter under the old id, which no new job will get. The letter is marked
  in the same call, so a second replay gets 1. Sent again with the same `by` it answers the same, and writes nothing.
]]
local meta, counter, wait, paused, active, prioritized, pc, failed, marker, events, jobs = unpack(KEYS)
local by, stride, first = ARGV[2], 4, 3

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include job_exists
--@include merge_paused
--@include enqueue
--@include dead_letter_indexes
--@include read_dead_letter
--@include index_dead_letter
--@include mark_replayed

local now_text = string.format('%d', clock(ARGV[1]))
local is_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc }
check_types(events, { wait, queue.paused_list or nil }, { prioritized, failed }, marker, {}, { pc, counter })
local good, seen, refused = {}, {}, {}
for i = first, #ARGV, stride do
  local one, code = read_dead_letter(jobs, ARGV[i]), 0
  if not one.at then
    code = 2
  elseif one.replayed then
    code = (one.by == by and one.at == (ARGV[i + 1] == '' and one.at or ARGV[i + 1])) and -1 or 1
  elseif ARGV[i + 1] ~= '' and ARGV[i + 1] ~= one.at then
    code = 4
  elseif not seen[one.id] then
    one.row = i
    one.exists = redis.call('EXISTS', jobs .. one.id) == 1
    if one.exists and not (job_exists(jobs, one.id) and redis.call('ZSCORE', failed, one.id)) then code = 3 end
    if code == 0 then good[#good + 1] = one end
  end
  seen[one.id] = true
  if code > 0 then
    refused[#refused + 1] = (i - first) / stride
    refused[#refused + 1] = code
  end
end
local counts = check_dead_letter_types(jobs, good)
if #good == 0 then return refused end

-- BullMQ's obliterate deletes the counter but not our letters: the counter must not give a replayed job's number again.
local used = tonumber(redis.call('GET', counter) or 0)
local highest = used
for _, one in ipairs(good) do
  if not one.exists and string.find(one.id, '^[1-9]%d*$') then highest = math.max(highest, tonumber(one.id)) end
end
if highest > used then redis.call('SET', counter, string.format('%.0f', highest)) end
local ids, priorities = {}, {}
for n, one in ipairs(good) do
  local job, i = jobs .. one.id, one.row
  local stored = redis.call('HMGET', record_of(jobs, one.id), 'name', 'data', 'opts', 'priority')
  local data = ARGV[i + 2] == '1' and ARGV[i + 3] or stored[2] or '{}'
  ids[n], priorities[n] = one.id, stored[4] or '0'
  if one.exists then
    -- `ats` stays: the letter shows all starts of its job.
    redis.call('HSET', job, 'data', data)
    redis.call('HDEL', job, 'finishedOn', 'processedOn', 'owner', 'failedReason', 'atm', 'stc')
  else
    redis.call('HSET', job, 'name', stored[1], 'data', data, 'opts', stored[3] or '{}', 'timestamp', now_text, 'delay', '0',
      'priority', priorities[n])
  end
end
enqueue(queue, ids, priorities, false)
redis.call('ZREM', failed, unpack(ids))
mark_replayed(jobs, good, now_text, by, counts)
for _, one in ipairs(good) do
  if one.exists then
    emit('waiting', 'jobId', one.id, 'prev', 'failed')
  else
    emit('added', 'jobId', one.id, 'name', one.type)
    emit('waiting', 'jobId', one.id)
  end
end
if not is_paused and room > 0 then redis.call('ZADD', marker, 0, '0') end
return refused
