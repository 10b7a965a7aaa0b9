--[[
finish: record results of claimed jobs: releases locks, applies retention.

MOVES    active -> completed, active -> gone
CAUSES   release_parents, promote_deduplicated, trim, merge_paused
EMITS    completed, drained, added, waiting, delayed, duplicated

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  completed    zset    ids by finish time, ms
  stalled      set     ids that a BullMQ worker marked as possibly stalled
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  metrics      int     minutes of counts kept for getMetrics; empty: jobs are not counted
ROWS
  id           str
  token        str     of the claim
  fence        int     `ats` of the claim
  value        bytes   JSON
  keep         str     COUNT,SECONDS of completed jobs kept, this one included, either empty for no limit; empty: all; see include/trim
  attempts     int     `atm` as the claim read it; empty: read it from the hash, which may have a deduplication
RETURNS
  for each refused row: its number from 0, then 1 lost (another claim holds the job), 2 missing, 3 done before by this claim,
  4 doomed: a child failed that it needs, or 7 pending: children that it needs are not done
  Sent again it answers 3 (2 where retention deleted the job at once) and writes nothing.
]]
local meta, wait, paused, active, prioritized, pc, delayed, completed, stalled, marker, events, jobs = unpack(KEYS)
local stride, first = 6, 3

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
--@include promote_deduplicated
--@include count_metrics
--@include to_count
--@include finish_jobs
--@include emit_drained

local now = clock(ARGV[1])
local now_text = string.format('%d', now)
local is_paused, room, max_events, mode = read_limits(meta, active)
local emit, _, result_events = emitter(events, max_events, mode)
local queue = { wait = wait, active = active, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker,
  emit = emit, result_events = result_events, jobs = jobs, paused_list = is_paused and paused }
local count_finished = count_metrics(jobs, 'completed', ARGV[2])
check_types(events, is_paused and { wait, paused, active } or { wait, active }, { prioritized, delayed, completed }, marker, { stalled }, { pc })
local good, fields, refused, suspects, locks = check_claims(jobs, active, ARGV, first, stride, 5, stalled)
if #good == 0 then return refused end

local flow
local function notify_parents(i)
  flow = flow or release_parents(now)
  flow.completed(jobs .. ARGV[i], fields[i][PARENT_KEY], fields[i][ALSO], ARGV[i + 3])
end
unlock(jobs, stalled, ARGV, good, suspects, locks)
finish_jobs(queue, ARGV, good, fields, { set = completed, field = 'returnvalue', event = 'completed', now_text = now_text,
  notify_parents = notify_parents, end_deduplication = end_deduplication, count = count_finished })
emit_drained(queue, is_paused, room + #good)
return refused
