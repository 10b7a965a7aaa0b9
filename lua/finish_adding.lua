--[[
finish_adding: record the result of a claimed job, and add the jobs that its run gathered, both or nothing.

MOVES    active -> completed, active -> gone
CAUSES   release_parents, promote_deduplicated, insert_flow, trim, merge_paused
EMITS    completed, drained, added, waiting, delayed, waiting-children, duplicated

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
  id           str
  token        str     of the claim
  fence        int     `ats` of the claim
  value        bytes   JSON
  keep         str     COUNT,SECONDS of completed jobs kept, this one included, either empty for no limit; empty: all; see include/trim
ROWS
  queue        prefix  of the keys of the job's queue
  id           str     chosen by the producer, or empty for a number
  name         str
  data         bytes   JSON
  opts         bytes   JSON
  timestamp    int     ms, or empty for now
  delay        int     ms after `timestamp`; of a job with children, ms after they are done
  priority     int     1 first; 0 is none
  lifo         int     1: to the front of the jobs without a priority
  parent       str     key of the parent, or empty
  link         bytes   JSON for the field `parent`: that job, and flags for a failure of this one
  also         bytes   keys of further parents, one a line, or empty
  waits        int     1: children of this job follow among the rows
RETURNS
  0 done
  1 lost, 2 missing, 3 done before by this claim, 4 a child failed that it needs, 7 children that it needs are not done; nothing was
  written
  Sent again it answers 3 (2 where retention deleted the job at once).
]]
local meta, wait, paused, active, prioritized, pc, delayed, completed, stalled, marker, events, jobs = unpack(KEYS)
local first = 7

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
--@include insert_flow
--@include promote_deduplicated
--@include to_count
--@include finish_jobs
--@include emit_drained

local now = clock(ARGV[1])
local now_text = string.format('%d', now)
local is_paused, room, max_events, mode = read_limits(meta, active)
local emit, _, result_events = emitter(events, max_events, mode)
local queue = { wait = wait, active = active, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker,
  emit = emit, result_events = result_events, jobs = jobs, paused_list = is_paused and paused }
check_types(events, is_paused and { wait, paused, active } or { wait, active }, { prioritized, delayed, completed }, marker, { stalled }, { pc })
local row = { unpack(ARGV, 2, 6) }
row[6] = ''
local good, fields, refused, suspects = check_claims(jobs, active, row, 1, 6, 5, stalled)
if #good == 0 then return refused[2] end
local flow = release_parents(now)
local plan, _, code = plan_flow(flow, ARGV, first)
if not plan then return code end

local function notify_parents() flow.completed(jobs .. row[1], fields[1][PARENT_KEY], fields[1][ALSO], row[4]) end
unlock(jobs, stalled, row, good, suspects)
insert_flow(flow, ARGV, plan, now)
finish_jobs(queue, row, good, fields, { set = completed, field = 'returnvalue', event = 'completed', now_text = now_text,
  notify_parents = notify_parents, end_deduplication = end_deduplication })
emit_drained(queue, is_paused, room + 1)
return 0
