--[[
drain: delete jobs that wait, all but the pending runs of schedules, and the parents in this queue that waited for nobody else.
One structure a call; the binding takes them in turn.

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
  skip         int     jobs at its old end that are to stay
  count        int     jobs looked at in this call, at most 1,000
RETURNS
  how many of that structure were deleted; how many were looked at and stay; how many parents were deleted beside them
  Sent again it deletes further ones.
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
local function matches(id) return not scheduled(schedules, jobs, id) end
local parents, waiting_children = {}, jobs .. 'waiting-children'
local function deletes_parent(parent)
  local prefix, id = string.match(parent, '^(.*:)([^:]+)$')
  if prefix ~= jobs or not redis.call('ZSCORE', waiting_children, id) then return false end
  if redis.call('SCARD', parent .. ':dependencies') > 1 then return false end
  parents[#parents + 1] = id
  return true
end
local flow = release_parents(clock(now))
local deleted, stayed = delete_matching(key, state == 'wait' or state == 'paused', jobs, tonumber(skip), tonumber(count), matches, flow, deletes_parent)
local taken = 0
while #parents > 0 do
  -- Who waited for one of these goes in the next round.
  local these = parents
  parents = {}
  taken = taken + #these
  remove_jobs(jobs, these, flow, deletes_parent)
  redis.call('ZREM', waiting_children, unpack(these))
end
return { #deleted, stayed, taken }
