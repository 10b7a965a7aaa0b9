--[[
list_jobs: return jobs of one state by page, in the order in which they run, are due or finished.

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
  state             str     a structure, or `waiting`: wait and paused together
  start             int     jobs to skip
  count             int     jobs to return at most
  ascending         int     1: next to run, next due or oldest first; 0: reversed
RETURNS
  rows as in get_jobs, without the state; of an id without a hash only the id; after them 1 where the page continues, because
  its rows have over 1 MiB
]]
local wait, paused, active, prioritized, delayed, waiting_children, completed, failed, jobs = unpack(KEYS)
local _, state, start, count, ascending = unpack(ARGV)

--@include snapshot
--@include ids_in_state

local keys = { wait = wait, paused = paused, active = active, prioritized = prioritized, delayed = delayed,
  ['waiting-children'] = waiting_children, completed = completed, failed = failed }
local ids = ids_in_state(keys, state, tonumber(start), tonumber(count), ascending == '1')
local rows, bytes = {}, 0
for i, id in ipairs(ids) do
  if bytes > REPLY_BYTES then
    rows[i] = 1
    break
  end
  local row, size = snapshot(jobs, id)
  rows[i], bytes = row or { id }, bytes + size
end
return rows
