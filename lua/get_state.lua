--[[
get_state: return which structure holds each of some jobs.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  wait              list    ids without a priority
  paused            list    the same while the queue is paused
  active            list    ids of running jobs
  prioritized       zset    ids by priority
  delayed           zset    ids by due time
  waiting_children  zset    parents with open children
  completed         zset    ids by finish time, ms
  failed            zset    ids by finish time, ms
  jobs              prefix  of the job hashes; the script appends an id
ARGV
  now               int     ms, or empty for the server's time
ROWS
  id                str
RETURNS
  for each id the name of the structure, or `unknown` if the job does not exist or nothing holds it. Where lists are so long that
  walking them would take milliseconds, a job that is in nothing else is reported as `wait`.
]]
local wait, paused, active, prioritized, delayed, waiting_children, completed, failed, jobs = unpack(KEYS)

--@include state

local queue = { wait = wait, paused = paused, active = active, prioritized = prioritized, delayed = delayed,
  waiting_children = waiting_children, completed = completed, failed = failed, jobs = jobs, reach = 100000 }
local words = {}
for i = 2, #ARGV do words[i - 1] = state(queue, ARGV[i]) end
return words
