--[[
reprocess: run failed or completed jobs again. Their parents wait for them again.

MOVES    failed -> wait, failed -> paused, failed -> prioritized, completed -> wait, completed -> paused,
  completed -> prioritized
CAUSES   merge_paused
EMITS    waiting

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  completed    zset    ids by finish time, ms
  failed       zset    ids by finish time, ms
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  reset        int     1: attempts, stalls and starts count from 0 again; 0: they go on, as in BullMQ
ROWS
  id           str
  lifo         int     1: to the front
RETURNS
  for each refused row: its number from 0, then 1 neither failed nor completed or 2 missing
  Sent again it answers 1: the job waits.
]]
local meta, wait, paused, active, prioritized, pc, completed, failed, marker, events, jobs = unpack(KEYS)
local stride, first = 2, 3

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include job_exists
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include dead_letter_indexes
--@include read_dead_letter
--@include index_dead_letter
--@include mark_replayed

local is_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc }
check_types(events, { wait, queue.paused_list or nil }, { prioritized, completed, failed }, marker, {}, { pc })
local good, seen, refused, letters = {}, {}, {}, {}
for i = first, #ARGV, stride do
  local id, code = ARGV[i], 1
  if not job_exists(jobs, id) then
    code = 2
  elseif not seen[id] then
    for _, state in ipairs({ 'failed', 'completed' }) do
      local set = state == 'failed' and failed or completed
      if code ~= 0 and redis.call('ZSCORE', set, id) then
        code = 0
        local stored = redis.call('HMGET', jobs .. id, 'priority', 'parentKey', 'also')
        good[#good + 1] = { id = id, priority = stored[1], parents = parent_keys(stored[2], stored[3]),
          front = ARGV[i + 1] == '1', set = set, state = state }
        local one = read_dead_letter(jobs, id)
        if one.at and not one.replayed then letters[#letters + 1] = one end
      end
    end
  end
  seen[id] = true
  if code ~= 0 then
    refused[#refused + 1] = (i - first) / stride
    refused[#refused + 1] = code
  end
end
if #good == 0 then return refused end
local counts = check_dead_letter_types(jobs, letters)

local function wait_again(child, parent, state)
  -- pcall: a parent's keys may have foreign types.
  if redis.pcall('HEXISTS', parent, 'timestamp') ~= 1 then return end
  redis.pcall('SADD', parent .. ':dependencies', child)
  if state == 'failed' then
    redis.pcall('ZREM', parent .. ':unsuccessful', child)
    redis.pcall('HDEL', parent .. ':failed', child)
  else
    redis.pcall('HDEL', parent .. ':processed', child)
  end
end

for _, job in ipairs(good) do
  enqueue(queue, { job.id }, { job.priority }, job.front)
  redis.call('ZREM', job.set, job.id)
  for _, parent in ipairs(job.parents) do wait_again(jobs .. job.id, parent, job.state) end
  redis.call('HDEL', jobs .. job.id, 'finishedOn', 'processedOn', 'owner', 'defa', job.state == 'failed' and 'failedReason' or 'returnvalue')
  -- Resetting `ats` is safe: without an owner, and with a token for each claim, an old claim never matches.
  if ARGV[2] == '1' then redis.call('HDEL', jobs .. job.id, 'atm', 'stc', 'ats') end
  emit('waiting', 'jobId', job.id, 'prev', job.state)
end
-- So that a replay does not run them a second time.
mark_replayed(jobs, letters, string.format('%d', clock(ARGV[1])), '', counts)
if not is_paused and room > 0 then redis.call('ZADD', marker, 0, '0') end
return refused
