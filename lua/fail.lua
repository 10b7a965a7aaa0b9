--[[
fail: record final failures of claimed jobs: releases locks, applies retention, writes dead letters.

MOVES    active -> failed, active -> gone
CAUSES   release_parents, child_failed, promote_deduplicated, trim, merge_paused
EMITS    failed, retries-exhausted, drained, added, waiting, delayed, duplicated

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  failed       zset    ids by finish time, ms
  stalled      set     ids that a BullMQ worker marked as possibly stalled
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  dead_letters str     COUNT,SECONDS of dead letters kept, either empty for no limit; empty: no letters are written
  metrics      int     minutes of counts kept for getMetrics; empty: jobs are not counted
ROWS
  id           str
  token        str     of the claim
  fence        int     `ats` of the claim
  reason       str
  keep         str     COUNT,SECONDS of failed jobs kept, this one included, either empty for no limit; empty: all; see include/trim
  stacktrace   bytes   JSON array of texts
  attempts     int     runs that the job may have
  error        str     class of the error, for the dead letter
  tenant       str     of the job, for the dead letter; empty for none
RETURNS
  for each refused row: its number from 0, then 1 lost (another claim holds the job), 2 missing or 3 done before by this claim
  Sent again it answers 3 (2 where retention deleted the job at once) and writes nothing.
]]
local meta, wait, paused, active, prioritized, pc, delayed, failed, stalled, marker, events, jobs = unpack(KEYS)
local stride, first = 9, 4
local REASON, STACKTRACE, ATTEMPTS, ERROR, TENANT = 3, 5, 6, 7, 8

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
--@include parent_keys
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
local now_text = string.format('%d', now)
local is_paused, room, max_events, mode = read_limits(meta, active)
local emit, _, result_events = emitter(events, max_events, mode)
local queue = { wait = wait, active = active, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker,
  emit = emit, result_events = result_events, jobs = jobs, paused_list = is_paused and paused }
local count_failed = count_metrics(jobs, 'failed', ARGV[3])
check_types(events, is_paused and { wait, paused, active } or { wait, active }, { prioritized, delayed, failed }, marker, { stalled }, { pc })
local good, fields, refused = check_claims(jobs, active, ARGV, first, stride)
if #good == 0 then return refused end
local letters, drafts, counts = ARGV[2], {}, nil
if letters ~= '' then
  for _, i in ipairs(good) do
    local made = string.format('%d', to_count(fields[i][ATM]) + 1)
    drafts[#drafts + 1] = prepare_dead_letter(jobs, ARGV[i], ARGV[i + ERROR], ARGV[i + TENANT], now_text, ARGV[i + REASON],
      ARGV[i + STACKTRACE], made)
  end
  counts = check_dead_letter_types(jobs, drafts)
end

local flow
local function notify_parents(i, is_deleted)
  local job = fields[i]
  flow = flow or release_parents(now)
  child_failed(flow, jobs .. ARGV[i], job[PARENT_KEY], job[ALSO], job[PARENT], ARGV[i + REASON], now, is_deleted)
end
-- Parents may still wait for a child that failed before.
local function unlink(ids)
  for _, id in ipairs(ids) do
    local job = redis.pcall('HMGET', jobs .. id, 'parentKey', 'also')
    if job[1] then
      flow = flow or release_parents(now)
      flow.unlink(jobs .. id, job[1], job[2])
    end
  end
end
unlock(jobs, stalled, ARGV, good)
for _, i in ipairs(good) do
  redis.call('HSET', jobs .. ARGV[i], 'stacktrace', ARGV[i + STACKTRACE])
  redis.call('HDEL', jobs .. ARGV[i], 'defa')
end
-- Before the jobs leave `active`: after an abort here they fail again, and each letter is overwritten.
write_dead_letters(jobs, drafts, counts)
local function emit_exhausted(i, made)
  if tonumber(made) >= tonumber(ARGV[i + ATTEMPTS]) then
    emit('retries-exhausted', 'jobId', ARGV[i], 'attemptsMade', made)
  end
end
finish_jobs(queue, ARGV, good, fields, { set = failed, field = 'failedReason', event = 'failed', now_text = now_text,
  notify_parents = notify_parents, end_deduplication = end_deduplication, unlink = unlink, count = count_failed, after = emit_exhausted })
emit_drained(queue, is_paused, room + #good)
if letters ~= '' then trim_dead_letters(jobs, now_text, letters, #good + 5) end
return refused
