--[[
fail: record that jobs failed for good, release their locks and apply retention.

MOVES    active -> failed, active -> gone, failed -> gone
EMITS    failed, retries-exhausted, drained

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  active       list    ids being run
  prioritized  zset    ids by priority
  failed       zset    ids by finish time, ms
  stalled      set     ids that a BullMQ worker suspects
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  metrics      int     minutes of counts kept for getMetrics, or empty to count none
ROWS
  id           str
  token        str     of the claim
  fence        int     `ats` of the claim
  reason       str
  keep         str     COUNT,SECONDS of failed jobs kept, this one included, each empty for no limit; empty for all
  stacktrace   bytes   JSON array of texts
  attempts     int     runs that the job was allowed
RETURNS
  for each row that was refused: its number from 0, then 1 lost, 2 missing or 3 already done by this claim
  Sent again it answers 3 (2 where the job was dropped at once) and writes nothing.
]]
local meta, wait, active, prioritized, failed, stalled, marker, events, jobs = unpack(KEYS)
local stride, first = 7, 3

--@include clock
--@include gate
--@include tell
--@include sound
--@include held
--@include unlock
--@include drop
--@include trim
--@include leave
--@include meter
--@include settle
--@include ended

local moment = string.format('%d', clock(ARGV[1]))
local is_paused, room, kept = gate(meta, active)
local tell = teller(events, kept)
local k = { wait = wait, active = active, prioritized = prioritized, marker = marker, tell = tell, jobs = jobs,
  meter = meter(jobs, 'failed', ARGV[2]) }
sound(events, { wait, active }, { prioritized, failed }, marker, { stalled })
local good, facts, refused = held(jobs, active, ARGV, first, stride)
if #good == 0 then return refused end

unlock(jobs, stalled, ARGV, good)
for _, i in ipairs(good) do
  redis.call('HSET', jobs .. ARGV[i], 'stacktrace', ARGV[i + 5])
  redis.call('HDEL', jobs .. ARGV[i], 'defa')
end
local function exhausted(i, made)
  if tonumber(made) >= tonumber(ARGV[i + 6]) then
    tell('retries-exhausted', 'jobId', ARGV[i], 'attemptsMade', made)
  end
end
settle(k, failed, 'failedReason', 'failed', moment, ARGV, good, facts, exhausted)
ended(k, is_paused, room + #good)
return refused
