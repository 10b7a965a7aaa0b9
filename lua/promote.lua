--[[
promote: enqueue delayed jobs that are due. A claim does so too; this is for a queue whose workers are all busy.

MOVES    delayed -> wait, delayed -> paused, delayed -> prioritized
CAUSES   merge_paused
EMITS    waiting

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
RETURNS
  how many, 250 at most; ms until the next is due (0: more are), or -1
  Sent again it promotes jobs that became due since.
]]
local meta, wait, paused, active, prioritized, pc, delayed, marker, events, jobs = unpack(KEYS)

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include merge_paused
--@include enqueue
--@include promote

local is_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, { wait, is_paused and paused or nil }, { prioritized, delayed }, marker, {}, { pc })
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc, delayed = delayed,
  marker = marker, emit = emit, jobs = jobs }
local count, next_due = promote(queue, clock(ARGV[1]), not is_paused and room > 0)
return { count, next_due }
