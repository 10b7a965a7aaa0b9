--[[
delay: run jobs later: those whose attempt failed, and those that asked for a later run.

MOVES    active -> delayed
CAUSES   none
EMITS    delayed

KEYS
  meta         hash    of the queue
  active       list    ids of running jobs
  delayed      zset    ids by due time
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
  delay        int     ms from now
  reason       str
  stacktrace   bytes   JSON array of texts
  skip         int     1: no attempt is used, and reason and stacktrace are not written
RETURNS
  for each refused row: its number from 0, then 1 lost (another claim holds the job), 2 missing or 3 done before by this claim
  Sent again it answers 1: this claim no longer holds the job.
]]
local meta, active, delayed, stalled, marker, events, jobs = unpack(KEYS)
local stride, first = 7, 2

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include check_claims
--@include unlock
--@include to_count

local now = clock(ARGV[1])
local is_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, { active }, { delayed }, marker, { stalled })
local good, fields, refused = check_claims(jobs, active, ARGV, first, stride)
if #good == 0 then return refused end

unlock(jobs, stalled, ARGV, good)
local last = {}
for _, i in ipairs(good) do
  local id, due = ARGV[i], now + ARGV[i + 3]
  redis.call('HSET', jobs .. id, 'delay', ARGV[i + 3])
  if ARGV[i + 6] ~= '1' then
    redis.call('HSET', jobs .. id, 'failedReason', ARGV[i + 4], 'stacktrace', ARGV[i + 5], 'atm', to_count(fields[i][ATM]) + 1)
  end
  redis.call('HDEL', jobs .. id, 'owner')
  redis.call('ZADD', delayed, due_score(delayed, due, last), id)
  redis.call('LREM', active, -1, id)
  emit('delayed', 'jobId', id, 'delay', due)
end
mark_due(delayed, marker)
-- Under a global concurrency, idle workers can use the slots that became free.
room = room + #good
if not is_paused and room > 0 and room < math.huge then redis.call('ZADD', marker, 0, '0') end
return refused
