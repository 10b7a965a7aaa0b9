--[[
get_jobs: return stored jobs with their states.

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
  for the first ids, all of them unless the rows have over 1 MiB: nothing where there is no such job, else id, hash as names and values in turn, and state (see include/state)
]]
local wait, paused, active, prioritized, delayed, waiting_children, completed, failed, jobs = unpack(KEYS)

--@include job_exists
--@include snapshot
--@include state

local queue = { wait = wait, paused = paused, active = active, prioritized = prioritized, delayed = delayed,
  waiting_children = waiting_children, completed = completed, failed = failed, jobs = jobs, reach = 100000 }
local rows, bytes = {}, 0
for i = 2, #ARGV do
  if bytes > REPLY_BYTES then break end
  local row, size = false, 0
  if job_exists(jobs, ARGV[i]) then row, size = snapshot(jobs, ARGV[i]) end
  if row then row[3] = state(queue, ARGV[i]) end
  rows[i - 1], bytes = row, bytes + size
end
return rows
