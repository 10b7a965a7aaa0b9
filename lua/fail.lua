--[[
fail: record that jobs failed for good, release their locks, apply retention, and write dead letters.

MOVES    active -> failed, active -> gone, failed -> gone, new -> wait, new -> paused, new -> prioritized, new -> delayed,
  waiting-children -> wait, waiting-children -> paused, waiting-children -> prioritized, waiting-children -> delayed,
  delayed -> wait, delayed -> paused, delayed -> prioritized, wait -> paused
EMITS    failed, retries-exhausted, drained, added, waiting, delayed, duplicated

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids being run
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  failed       zset    ids by finish time, ms
  stalled      set     ids that a BullMQ worker suspects
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  letters      str     COUNT,SECONDS of dead letters kept, each empty for no limit; empty to write none
  metrics      int     minutes of counts kept for getMetrics, or empty to count none
ROWS
  id           str
  token        str     of the claim
  fence        int     `ats` of the claim
  reason       str
  keep         str     COUNT,SECONDS of failed jobs kept, this one included, each empty for no limit; empty for all; see trim
  stacktrace   bytes   JSON array of texts
  attempts     int     runs that the job was allowed
  error        str     class of the error, for the dead letter
  tenant       str     whose job it was, for the dead letter; empty for nobody's
RETURNS
  for each row that was refused: its number from 0, then 1 lost, 2 missing or 3 already done by this claim
  Sent again it answers 3 (2 where the job was dropped at once) and writes nothing.
]]
local meta, wait, paused, active, prioritized, pc, delayed, failed, stalled, marker, events, jobs = unpack(KEYS)
local stride, first = 9, 4

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include check_claims
--@include unlock
--@include delete_jobs
--@include trim
--@include remove_active
--@include merge_paused
--@include enqueue
--@include parents
--@include release_parents
--@include child_failed
--@include promote_deduplicated
--@include count_metrics
--@include to_count
--@include finish_jobs
--@include emit_drained
--@include dead_letter_indexes
--@include read_dead_letter
--@include index_dead_letter
--@include prepare_dead_letter
--@include write_dead_letters
--@include delete_dead_letters
--@include trim_dead_letters

local now = clock(ARGV[1])
local moment = string.format('%d', now)
local is_paused, room, kept = read_limits(meta, active)
local emit = emitter(events, kept)
local k = { wait = wait, active = active, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker,
  emit = emit, jobs = jobs, aside = is_paused and paused, meter = count_metrics(jobs, 'failed', ARGV[3]) }
check_types(events, is_paused and { wait, paused, active } or { wait, active }, { prioritized, delayed, failed }, marker, { stalled }, { pc })
local good, facts, refused = check_claims(jobs, active, ARGV, first, stride)
if #good == 0 then return refused end
local letters, drafts, counts = ARGV[2], {}, nil
if letters ~= '' then
  for _, i in ipairs(good) do
    local made = string.format('%d', to_count(facts[i][1]) + 1)
    drafts[#drafts + 1] = prepare_dead_letter(jobs, ARGV[i], ARGV[i + 7], ARGV[i + 8], moment, ARGV[i + 3], ARGV[i + 5], made)
  end
  counts = dead_letter_types_ok(jobs, drafts)
end

local family
k.to_parent = function(i, goes)
  family = family or release_parents(now)
  child_failed(family, jobs .. ARGV[i], facts[i][7], facts[i][10], facts[i][8], ARGV[i + 3], now, goes)
end
-- A child that failed may still be waited for.
k.unlink = function(ids)
  for _, id in ipairs(ids) do
    local job = redis.pcall('HMGET', jobs .. id, 'parentKey', 'also')
    if job[1] then
      family = family or release_parents(now)
      family.unlink(jobs .. id, job[1], job[2])
    end
  end
end
unlock(jobs, stalled, ARGV, good)
for _, i in ipairs(good) do
  redis.call('HSET', jobs .. ARGV[i], 'stacktrace', ARGV[i + 5])
  redis.call('HDEL', jobs .. ARGV[i], 'defa')
end
-- Before the jobs leave: what breaks off here fails them again, and each letter is written over.
write_dead_letters(jobs, drafts, counts)
local function exhausted(i, made)
  if tonumber(made) >= tonumber(ARGV[i + 6]) then
    emit('retries-exhausted', 'jobId', ARGV[i], 'attemptsMade', made)
  end
end
finish_jobs(k, failed, 'failedReason', 'failed', moment, ARGV, good, facts, exhausted)
emit_drained(k, is_paused, room + #good)
if letters ~= '' then trim_dead_letters(jobs, moment, letters, #good + 5) end
return refused
