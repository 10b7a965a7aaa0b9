--[[
count_names: count the jobs of each name in a page of one state.

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
  count             int     jobs to read at most
RETURNS
  how many were read; names and counts in turn. An id without a hash has the name ''.
]]
local wait, paused, active, prioritized, delayed, waiting_children, completed, failed, jobs = unpack(KEYS)
local _, state, start, count = unpack(ARGV)

--@include ids_in_state

local keys = { wait = wait, paused = paused, active = active, prioritized = prioritized, delayed = delayed,
  ['waiting-children'] = waiting_children, completed = completed, failed = failed }
local ids = ids_in_state(keys, state, tonumber(start), tonumber(count), true)
local counted, answer = {}, { #ids }
for _, id in ipairs(ids) do
  -- pcall: a foreign key at the place of one job must not hide the others.
  local name = redis.pcall('HGET', jobs .. id, 'name')
  if type(name) ~= 'string' then name = '' end
  counted[name] = (counted[name] or 0) + 1
end
for name, number in pairs(counted) do
  answer[#answer + 1] = name
  answer[#answer + 1] = number
end
return answer
