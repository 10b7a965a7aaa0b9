--[[
remove_flow: delete a job with all its descendants, in any queues; nothing if a worker holds one of them. A child that has another
parent outside stays.

MOVES    wait -> gone, paused -> gone, prioritized -> gone, delayed -> gone, completed -> gone,
  failed -> gone, waiting-children -> gone, active -> gone
CAUSES   release_parents, merge_paused
EMITS    removed, waiting, delayed

KEYS
  jobs         prefix  of the keys of the job's queue; in a cluster, the descendants' queues must share its slot
ARGV
  now          int     ms, or empty for the server's time
  id           str
  count        int     jobs deleted in this call
RETURNS
  0 done
  -1 a part was deleted, children before their parents; call it again
  1 a worker holds one of them, 2 missing, 3 one of them is the pending run of a schedule; nothing was written
  Sent again it answers 2.
]]
local jobs = unpack(KEYS)
local now, root, count = unpack(ARGV)
-- Jobs that one call may visit, and whose parents it may check.
local visits, checks = 2000, 2000

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include release_parents
--@include job_exists
--@include delete_jobs
--@include remove_jobs
--@include scheduled

local flow = release_parents(clock(now))
count = tonumber(count)
if not job_exists(jobs, root) then return 2 end

-- For each job that was checked, whether it is deleted. The root's own parents stay.
local in_flow = { [jobs .. root] = true }
local function belongs(job)
  if in_flow[job] ~= nil then return in_flow[job] end
  -- Set before the parents are checked, in case they form a circle.
  in_flow[job] = false
  if checks <= 0 then return false end
  checks = checks - 1
  local stored, has_parent_here = redis.pcall('HMGET', job, 'parentKey', 'also'), false
  for _, parent in ipairs(stored.err and {} or parent_keys(stored[1], stored[2])) do
    if belongs(parent) then
      has_parent_here = true
    elseif redis.pcall('HEXISTS', parent, 'timestamp') == 1 then
      return false
    end
  end
  in_flow[job] = has_parent_here
  return has_parent_here
end

local function children(job)
  local found = {}
  for _, command in ipairs({ { 'SRANDMEMBER', ':dependencies', count }, { 'HRANDFIELD', ':processed', count },
    { 'HRANDFIELD', ':failed', count }, { 'ZRANGE', ':unsuccessful', 0, count - 1 } }) do
    local some = redis.pcall(command[1], job .. command[2], unpack(command, 3))
    if not some.err then
      for _, child in ipairs(some) do
        -- A child that has another parent by now is not of this flow.
        if belongs(child) then found[#found + 1] = child end
      end
    end
  end
  return found
end

local seen, to_delete = {}, {}
-- Collects children before their parents, as many as one call deletes. Returns whether it has all below the job.
local function visit(job)
  seen[job] = true
  visits = visits - 1
  local is_complete = true
  for _, child in ipairs(children(job)) do
    if #to_delete >= count or visits <= 0 then return false end
    if not seen[child] then is_complete = visit(child) and is_complete end
  end
  if not is_complete or #to_delete >= count then return false end
  to_delete[#to_delete + 1] = job
  return true
end
local is_complete = visit(jobs .. root)

local function read_sizes(q)
  q.walk = 0
  for _, name in ipairs(q.lists) do q.walk = q.walk + redis.call('LLEN', q.jobs .. name) end
  for _, name in ipairs(q.zsets) do redis.call('ZCARD', q.jobs .. name) end
  redis.call('ZCARD', q.jobs .. 'repeat')
  redis.call('SCARD', q.jobs .. 'stalled')
end
local queues = {}
for job in pairs(seen) do
  local q, id = flow.queue_of(job)
  if not q then error('a structure of a queue is not of its type') end
  if not queues[q.jobs] then
    queues[q.jobs] = true
    q.lists = { 'wait', 'paused', 'active' }
    q.zsets = { 'completed', 'failed', 'delayed', 'prioritized', 'waiting-children' }
    -- The error of a foreign type names keys of this queue only.
    if q.jobs == jobs then
      read_sizes(q)
    elseif not pcall(read_sizes, q) then
      error('a structure of a queue is not of its type')
    end
  end
  if redis.call('EXISTS', job .. ':lock') == 1 then return 1 end
  if scheduled(q.jobs .. 'repeat', q.jobs, id) then return 3 end
end

local reach = 100000
local function take(q, id)
  for _, name in ipairs(q.zsets) do
    if redis.call('ZREM', q.jobs .. name, id) == 1 then return name end
  end
  reach = reach - q.walk
  for _, name in ipairs(q.lists) do
    if redis.call('LREM', q.jobs .. name, -1, id) == 1 then return name end
  end
  return 'unknown'
end
local function is_deleted(parent) return in_flow[parent] end

for n, job in ipairs(to_delete) do
  local q, id = flow.queue_of(job)
  local prev, stored = take(q, id), redis.call('HMGET', job, 'parentKey', 'also')
  redis.call('SREM', q.jobs .. 'stalled', id)
  remove_jobs(q.jobs, { id }, flow, is_deleted)
  for _, parent in ipairs(parent_keys(stored[1], stored[2])) do
    if in_flow[parent] then
      redis.pcall('SREM', parent .. ':dependencies', job)
      redis.pcall('HDEL', parent .. ':processed', job)
      redis.pcall('HDEL', parent .. ':failed', job)
      redis.pcall('ZREM', parent .. ':unsuccessful', job)
    end
  end
  q.emit('removed', 'jobId', id, 'prev', prev)
  if reach <= 0 and n < #to_delete then return -1 end
end
return is_complete and 0 or -1
