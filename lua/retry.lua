--[[
retry: enqueue claimed jobs whose attempt failed again, at once.

MOVES    active -> wait, active -> paused, active -> prioritized
CAUSES   merge_paused
EMITS    waiting

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  stalled      set     ids that a BullMQ worker marked as possibly stalled
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
ROWS
  id           str
  token        str     of the claim
  fence        int     `ats` of the claim
  reason       str
  stacktrace   bytes   JSON array of texts
  lifo         int     1: to the front of the jobs without a priority
RETURNS
  for each refused row: its number from 0, then 1 lost (another claim holds the job), 2 missing or 3 done before by this claim
  Sent again it answers 1: this claim no longer holds the job.
]]
local meta, wait, paused, active, prioritized, pc, stalled, marker, events, jobs = unpack(KEYS)
local stride, first = 6, 2

--@include read_limits
--@include emit
--@include check_types
--@include check_claims
--@include unlock
--@include to_count
--@include merge_paused
--@include enqueue

local is_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc }
check_types(events, { wait, active, queue.paused_list or nil }, { prioritized }, marker, { stalled }, { pc })
local good, fields, refused = check_claims(jobs, active, ARGV, first, stride)
if #good == 0 then return refused end

unlock(jobs, stalled, ARGV, good)
for _, i in ipairs(good) do
  local id = ARGV[i]
  redis.call('HSET', jobs .. id, 'failedReason', ARGV[i + 3], 'stacktrace', ARGV[i + 4], 'atm', to_count(fields[i][ATM]) + 1)
  redis.call('HDEL', jobs .. id, 'owner')
  enqueue(queue, { id }, { fields[i][PRIORITY] }, ARGV[i + 5] == '1' and (tonumber(fields[i][PRIORITY]) or 0) == 0)
  redis.call('LREM', active, -1, id)
  emit('waiting', 'jobId', id, 'prev', 'active')
end
if not is_paused and room + #good > 0 then redis.call('ZADD', marker, 0, '0') end
return refused
