--[[
remove: delete jobs that no worker holds, in any state.

MOVES    wait -> gone, paused -> gone, prioritized -> gone, delayed -> gone, completed -> gone,
  failed -> gone, waiting-children -> gone, active -> gone
CAUSES   release_parents, promote_deduplicated, merge_paused
EMITS    removed, added, waiting, delayed, duplicated

KEYS
  meta              hash    of the queue
  wait              list    ids without a priority
  paused            list    the same while the queue is paused
  active            list    ids of running jobs
  prioritized       zset    ids by priority
  pc                counter that keeps one priority first in, first out
  delayed           zset    ids by due time
  waiting_children  zset    parents with open children
  completed         zset    ids by finish time, ms
  failed            zset    ids by finish time, ms
  stalled           set     ids that a BullMQ worker marked as possibly stalled
  repeat            zset    schedules
  marker            zset    wakes idle workers
  events            stream
  jobs              prefix  of the job hashes; the script appends an id
ARGV
  now               int     ms, or empty for the server's time
ROWS
  id                str
RETURNS
  how many rows were handled, at least one, but fewer than were sent if lists are long; then for each refused row: its number from 0,
  then 1 locked, 2 missing or 3 the pending run of a schedule
  Sent again it answers 2.
]]
local meta, wait, paused, active, prioritized, pc, delayed, waiting_children, completed, failed, stalled, schedules, marker, events,
  jobs = unpack(KEYS)

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include job_exists
--@include delete_jobs
--@include remove_jobs
--@include scheduled
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include release_parents
--@include promote_deduplicated

local is_paused, _, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, { wait, paused, active }, { prioritized, delayed, waiting_children, completed, failed, schedules }, marker, { stalled }, { pc })
local now = clock(ARGV[1])
local now_text = string.format('%d', now)
local flow = release_parents(now)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc, delayed = delayed,
  marker = marker, jobs = jobs, emit = emit }
local zsets = { { completed, 'completed' }, { failed, 'failed' }, { delayed, 'delayed' }, { prioritized, 'prioritized' },
  { waiting_children, 'waiting-children' } }
local lists = { { wait, 'wait' }, { paused, 'paused' }, { active, 'active' } }
local walk = redis.call('LLEN', wait) + redis.call('LLEN', paused) + redis.call('LLEN', active)
local reach = 100000

local function take(id)
  for _, set in ipairs(zsets) do
    if redis.call('ZREM', set[1], id) == 1 then return set[2] end
  end
  reach = reach - walk
  for _, list in ipairs(lists) do
    if redis.call('LREM', list[1], -1, id) == 1 then return list[2] end
  end
  return false
end

local handled, refused = 0, {}
for i = 2, #ARGV do
  if reach <= 0 then break end
  handled = handled + 1
  local id, code = ARGV[i], 0
  if redis.call('EXISTS', jobs .. id .. ':lock') == 1 then
    code = 1
  elseif scheduled(schedules, jobs, id) then
    code = 3
  else
    -- A hash that no structure names is deleted too, and an id without a hash; but not a key that is not a job.
    local exists = job_exists(jobs, id)
    local prev = take(id)
    if exists or prev then
      redis.call('SREM', stalled, id)
      local deduplication = exists and redis.call('HGET', jobs .. id, 'deid')
      local owns = deduplication and redis.pcall('GET', jobs .. 'de:' .. deduplication) == id
      -- Before the job is deleted with its keys: the job that was kept until its end is another producer's.
      if owns then promote_deduplicated(queue, deduplication, now_text) end
      remove_jobs(jobs, { id }, flow)
      emit('removed', 'jobId', id, 'prev', prev or 'unknown')
    else
      code = 2
    end
  end
  if code ~= 0 then
    refused[#refused + 1] = i - 2
    refused[#refused + 1] = code
  end
end
return { handled, refused }
