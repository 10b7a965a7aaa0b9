--[[
notify_parents: let parents that wait hear of children that have ended or gone without telling them: BullMQ tells one parent of a job
that has several, and programs of whatever kind may have deleted a child. The oldest are looked at, and as many by chance.

MOVES    waiting-children -> wait, waiting-children -> paused, waiting-children -> prioritized,
  waiting-children -> delayed, delayed -> wait, delayed -> paused, delayed -> prioritized
CAUSES   merge_paused
EMITS    waiting, delayed

KEYS
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  interval     int     ms between the looks of all workers together
  patience     int     ms that a parent must have waited before a child that is not there counts as gone: one that another
                       program adds in several steps may be on its way
  count        int     parents looked at, twice
RETURNS
  the ids of parents that were told something
  Sent again it answers nothing.
]]
local jobs = unpack(KEYS)
local now, interval, patience, count = unpack(ARGV)
-- Of a parent with many children the others come in a later look.
local sample = 10

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include release_parents
--@include child_failed
--@include checked_recently

now = clock(now)
local waiting_children, looked = jobs .. 'waiting-children', jobs .. 'corral:parents:looked'
if redis.call('ZCARD', waiting_children) == 0 or checked_recently(looked, now, interval) then return {} end
local flow = release_parents(now)
if not flow.queue_of(jobs .. 'id') then error('a structure of the queue is not of its type') end

-- How a child ended, if it did; and what its hash says of that.
local function ending(child)
  local stored = redis.pcall('HMGET', child, 'timestamp', 'finishedOn', 'returnvalue', 'failedReason', 'parent')
  if stored.err then return end
  if not stored[1] then return redis.call('EXISTS', child) == 0 and 'gone' or nil end
  local prefix, id = string.match(child, '^(.*:)([^:]+)$')
  for _, state in ipairs(stored[2] and prefix and { 'completed', 'failed' } or {}) do
    if type(redis.pcall('ZSCORE', prefix .. state, id)) == 'string' then return state, stored end
  end
end

-- Tell one parent what has become of some of its children. Returns whether it waits for fewer now.
local function tell_of(children, parent, is_old)
  local before = #children
  local left = before
  for _, child in ipairs(children) do
    local state, stored = ending(child)
    if state == 'completed' then
      flow.completed(child, parent, nil, stored[3] or 'null')
    elseif state == 'failed' then
      child_failed(flow, child, parent, nil, stored[5], stored[4] or '', now)
    elseif state == 'gone' and is_old then
      flow.unlink(child, parent)
    end
    if state and redis.call('SISMEMBER', parent .. ':dependencies', child) == 0 then left = left - 1 end
  end
  -- Whoever took the last one away did not let it run.
  if before == 0 and is_old then
    flow.release(parent)
    return not redis.call('ZSCORE', waiting_children, string.match(parent, '[^:]+$'))
  end
  return left < before
end

local ids = redis.call('ZRANGE', waiting_children, 0, count - 1)
for _, id in ipairs(redis.call('ZRANDMEMBER', waiting_children, count)) do ids[#ids + 1] = id end

-- ZREM first: a full server refuses what takes memory as the first write, and what waits is to go on.
redis.call('ZREM', waiting_children, '')
redis.call('SET', looked, now, 'PX', interval)
local told, seen = {}, {}
for _, id in ipairs(ids) do
  local since = redis.call('ZSCORE', waiting_children, id)
  local children = redis.pcall('SRANDMEMBER', jobs .. id .. ':dependencies', sample)
  if since and not seen[id] and not children.err then
    seen[id] = true
    if tell_of(children, jobs .. id, since + patience <= now) then told[#told + 1] = id end
  end
end
return told
