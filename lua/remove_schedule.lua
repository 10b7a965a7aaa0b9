--[[
remove_schedule: delete a schedule and its pending run. A run that has started goes on.

MOVES    wait -> gone, paused -> gone, prioritized -> gone, delayed -> gone
CAUSES   none
EMITS    removed

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  delayed      zset    ids by due time
  repeat       zset    schedules by the time of their next run, ms
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  schedule     str     its id
RETURNS
  0 done
  1 no such schedule
  Sent again it answers 1.
]]
local meta, wait, paused, active, prioritized, delayed, schedules, events, jobs = unpack(KEYS)
local schedule = ARGV[2]

--@include read_limits
--@include emit
--@include check_types
--@include delete_jobs
--@include find_waiting
--@include pending
--@include delete_run

local _, _, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, { wait, paused }, { prioritized, delayed, schedules })
local due = redis.call('ZSCORE', schedules, schedule)
if not due then return 1 end
local queue = { wait = wait, paused = paused, prioritized = prioritized, delayed = delayed, jobs = jobs, reach = 1000, runs = {} }
local run = pending(queue, schedule, string.format('%.0f', due))
local structure = redis.call('EXISTS', jobs .. run .. ':lock') == 0 and find_waiting(queue, run)

redis.call('DEL', jobs .. 'repeat:' .. schedule)
redis.call('ZREM', schedules, schedule)
if structure then
  delete_run(queue, run, structure)
  emit('removed', 'jobId', run, 'prev', structure)
end
return 0
