--[[
get_state: say which structure holds each of some jobs.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  wait              list    ids without a priority
  paused            list    the same while the queue is paused
  active            list    ids being run
  prioritized       zset    ids by priority
  delayed           zset    ids by due time
  waiting_children  zset    parents whose children are not all done
  completed         zset    ids by finish time, ms
  failed            zset    ids by finish time, ms
  jobs              prefix  of the job hashes; the script appends an id
ARGV
  now               int     ms, or empty for the server's time
ROWS
  id                str
RETURNS
  a word for each id: the structure, or `unknown` for no such job and for one that nothing holds. Where lists are so
  long that walking them would take milliseconds, a job that is in nothing else is taken to be in `wait`.
]]
local wait, paused, active, prioritized, delayed, waiting_children, completed, failed, jobs = unpack(KEYS)

--@include state

local queue = { wait = wait, paused = paused, active = active, prioritized = prioritized, delayed = delayed,
  waiting_children = waiting_children, completed = completed, failed = failed, jobs = jobs, reach = 100000 }
local words = {}
for i = 2, #ARGV do words[i - 1] = state(queue, ARGV[i]) end
return words
