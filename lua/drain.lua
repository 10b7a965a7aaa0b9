--[[
drain: delete the jobs of one structure that have not started, except pending runs of schedules; also parents in this queue whose last
open child is deleted. The binding calls it for each structure.

MOVES    wait -> gone, paused -> gone, prioritized -> gone, delayed -> gone, waiting-children -> gone
CAUSES   release_parents, merge_paused
EMITS    waiting, delayed

KEYS
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  prioritized  zset    ids by priority
  delayed      zset    ids by due time
  repeat       zset    schedules
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  state        str     structure to drain
  skip         int     jobs at its old end to skip
  count        int     jobs to check in this call, at most 1,000, those above them included
RETURNS
  how many of that structure were deleted; how many were checked and stay; how many parents were deleted; whether there may be more
  Sent again it deletes more.
]]
local wait, paused, prioritized, delayed, schedules, jobs = unpack(KEYS)
local now, state, skip, count = unpack(ARGV)

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include release_parents
--@include delete_jobs
--@include remove_jobs
--@include scheduled
--@include delete_matching

redis.call('ZCARD', schedules)
local key = ({ wait = wait, paused = paused, prioritized = prioritized, delayed = delayed })[state]
local parents, waiting_children = {}, jobs .. 'waiting-children'
local may_have_parents, left, counted = redis.call('EXISTS', waiting_children) == 1, tonumber(count), {}
-- With a job its whole line of parents may be deleted: they count too, so that the call stays short.
local function count_parents(job)
  if left <= 0 then return end
  local stored = redis.pcall('HMGET', job, 'parentKey', 'also')
  for _, parent in ipairs(stored.err and {} or parent_keys(stored[1], stored[2])) do
    if not counted[parent] and string.match(parent, '^(.*:)[^:]+$') == jobs then
      counted[parent] = true
      left = left - 1
      count_parents(parent)
    end
  end
end
local function matches(id)
  if left <= 0 then return nil end
  left = left - 1
  if scheduled(schedules, jobs, id) then return false end
  if may_have_parents then count_parents(jobs .. id) end
  return true
end
local function deletes_parent(parent)
  local prefix, id = string.match(parent, '^(.*:)([^:]+)$')
  if prefix ~= jobs or not redis.call('ZSCORE', waiting_children, id) then return false end
  if redis.call('SCARD', parent .. ':dependencies') > 1 then return false end
  parents[#parents + 1] = id
  return true
end
local flow = release_parents(clock(now))
local is_list = state == 'wait' or state == 'paused'
local deleted, stayed, more = delete_matching(key, is_list, jobs, tonumber(skip), tonumber(count), matches, flow, deletes_parent)
local taken = 0
while #parents > 0 do
  -- Their own parents are collected for the next round.
  local these = parents
  parents = {}
  taken = taken + #these
  remove_jobs(jobs, these, flow, deletes_parent)
  redis.call('ZREM', waiting_children, unpack(these))
end
return { #deleted, stayed, taken, more and 1 or 0 }
