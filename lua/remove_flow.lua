--[[
remove_flow: delete a job with all that are below it in its flow, in whatever queues they are; none if a worker holds one of them.
A child that has a parent elsewhere too is left to that one.

MOVES    wait -> gone, paused -> gone, prioritized -> gone, delayed -> gone, completed -> gone,
  failed -> gone, waiting-children -> gone, active -> gone
CAUSES   release_parents, merge_paused
EMITS    removed, waiting, delayed

KEYS
  jobs         prefix  of the keys of the job's queue; those of all others are to be in one slot of a cluster
ARGV
  now          int     ms, or empty for the server's time
  id           str
  count        int     jobs deleted in this call
RETURNS
  0 done
  -1 a part is deleted, children before their parents; a further call goes on
  1 a worker holds one of them, 2 missing, 3 one of them is the pending run of a schedule; nothing was written
  Sent again it answers 2.
]]
local jobs = unpack(KEYS)
local now, root, count = unpack(ARGV)
local looked_at, climbs = 2000, 2000

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

-- Jobs that go, and others that were asked about. The root's own parents stay.
local in_flow = { [jobs .. root] = true }
local function belongs(job)
  if in_flow[job] ~= nil then return in_flow[job] end
  -- Also where parents go round in a circle.
  in_flow[job] = false
  if climbs <= 0 then return false end
  climbs = climbs - 1
  local stored, below = redis.pcall('HMGET', job, 'parentKey', 'also'), false
  for _, parent in ipairs(stored.err and {} or parent_keys(stored[1], stored[2])) do
    if belongs(parent) then
      below = true
    elseif redis.pcall('HEXISTS', parent, 'timestamp') == 1 then
      return false
    end
  end
  in_flow[job] = below
  return below
end

local function children(job)
  local found = {}
  for _, asked in ipairs({ { 'SRANDMEMBER', ':dependencies', count }, { 'HRANDFIELD', ':processed', count },
    { 'HRANDFIELD', ':failed', count }, { 'ZRANGE', ':unsuccessful', 0, count - 1 } }) do
    local some = redis.pcall(asked[1], job .. asked[2], unpack(asked, 3))
    if not some.err then
      for _, child in ipairs(some) do
        -- One that another job has taken over since is not of this flow.
        if belongs(child) then found[#found + 1] = child end
      end
    end
  end
  return found
end

local seen, going = {}, {}
-- Children before their parents, as many as one call deletes. Returns whether all below the job are among them.
local function visit(job)
  seen[job] = true
  looked_at = looked_at - 1
  local whole = true
  for _, child in ipairs(children(job)) do
    if #going >= count or looked_at <= 0 then return false end
    if not seen[child] then whole = visit(child) and whole end
  end
  if not whole or #going >= count then return false end
  going[#going + 1] = job
  return true
end
local whole = visit(jobs .. root)

local queues = {}
for job in pairs(seen) do
  local q, id = flow.queue_of(job)
  if not q then error('a structure of a queue is not of its type') end
  if not queues[q.jobs] then
    queues[q.jobs] = true
    q.lists = { 'wait', 'paused', 'active' }
    q.zsets = { 'completed', 'failed', 'delayed', 'prioritized', 'waiting-children' }
    q.walk = 0
    for _, name in ipairs(q.lists) do q.walk = q.walk + redis.call('LLEN', q.jobs .. name) end
    for _, name in ipairs(q.zsets) do redis.call('ZCARD', q.jobs .. name) end
    redis.call('ZCARD', q.jobs .. 'repeat')
    redis.call('SCARD', q.jobs .. 'stalled')
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

for n, job in ipairs(going) do
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
  if reach <= 0 and n < #going then return -1 end
end
return whole and 0 or -1
