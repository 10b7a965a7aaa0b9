--[[
clean: delete the jobs of one structure that are older than a limit, except locked jobs and pending runs of schedules.

MOVES    wait -> gone, paused -> gone, active -> gone, prioritized -> gone, delayed -> gone,
  completed -> gone, failed -> gone
CAUSES   release_parents, merge_paused
EMITS    cleaned, waiting, delayed

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  delayed      zset    ids by due time
  completed    zset    ids by finish time, ms
  failed       zset    ids by finish time, ms
  stalled      set     ids that a BullMQ worker marked as possibly stalled
  repeat       zset    schedules
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  state        str     structure to clean
  grace        int     age in ms: since the job finished, else since it last started, else since it was added
  skip         int     jobs at the old end of the structure to skip
  count        int     jobs to check in this call, at most 1,000
RETURNS
  the deleted ids; how many were checked and stay
  Sent again it deletes more.
]]
local meta, wait, paused, active, prioritized, delayed, completed, failed, stalled, schedules, events, jobs = unpack(KEYS)
local now, state, grace, skip, count = unpack(ARGV)

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include release_parents
--@include delete_jobs
--@include remove_jobs
--@include scheduled
--@include delete_matching

local _, _, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, { wait, paused, active }, { prioritized, delayed, completed, failed, schedules }, nil, { stalled })
now = clock(now)
local cutoff = now - grace
local key = ({ wait = wait, paused = paused, active = active, prioritized = prioritized, delayed = delayed,
  completed = completed, failed = failed })[state]

local function matches(id)
  if state == 'active' and redis.call('EXISTS', jobs .. id .. ':lock') == 1 then return false end
  local times = redis.pcall('HMGET', jobs .. id, 'finishedOn', 'processedOn', 'timestamp')
  local since = times.err and 0 or tonumber(times[1] or times[2] or times[3]) or 0
  return since <= cutoff and not scheduled(schedules, jobs, id)
end
if state == 'completed' or state == 'failed' then
  -- Their score is the time of the finish: jobs that are too young are not read.
  count = math.min(count, redis.call('ZCOUNT', key, '-inf', string.format('%.0f', cutoff)) - skip)
  if count < 1 then return { {}, 0 } end
end

local is_list = state == 'wait' or state == 'paused' or state == 'active'
local deleted, stayed = delete_matching(key, is_list, jobs, tonumber(skip), tonumber(count), matches, release_parents(now))
if #deleted == 0 then return { deleted, stayed } end
if state == 'active' then redis.call('SREM', stalled, unpack(deleted)) end
emit('cleaned', 'count', #deleted)
return { deleted, stayed }
