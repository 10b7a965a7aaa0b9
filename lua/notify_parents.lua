--[[
notify_parents: release or fail parents whose children ended or were deleted without notifying them: of a job with several parents
BullMQ notifies one, and other programs may delete a child. Checks the parents that have waited longest, and as many random ones.

MOVES    waiting-children -> wait, waiting-children -> paused, waiting-children -> prioritized,
  waiting-children -> delayed, delayed -> wait, delayed -> paused, delayed -> prioritized
CAUSES   merge_paused
EMITS    waiting, delayed

KEYS
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  interval     int     ms between the checks of all workers together
  patience     int     ms that a parent must have waited before a missing child counts as deleted: another program may
                       still be adding it, in several steps
  count        int     parents to check: the oldest, and random ones
RETURNS
  the ids of parents that were notified
  Sent again it returns none.
]]
local jobs = unpack(KEYS)
local now, interval, patience, count = unpack(ARGV)
-- Children checked of each parent; later checks read others.
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
local waiting_children, checked_at = jobs .. 'waiting-children', jobs .. 'corral:parents:looked'
if redis.call('ZCARD', waiting_children) == 0 or checked_recently(checked_at, now, interval) then return {} end
local flow = release_parents(now)
if not flow.queue_of(jobs .. 'id') then error('a structure of the queue is not of its type') end

-- How a child ended, or 'gone' if it was deleted, and its hash's fields; nil while it has not ended.
local function outcome_of(child)
  local stored = redis.pcall('HMGET', child, 'timestamp', 'finishedOn', 'returnvalue', 'failedReason', 'parent')
  if stored.err then return end
  if not stored[1] then return redis.call('EXISTS', child) == 0 and 'gone' or nil end
  local prefix, id = string.match(child, '^(.*:)([^:]+)$')
  for _, state in ipairs(stored[2] and prefix and { 'completed', 'failed' } or {}) do
    if type(redis.pcall('ZSCORE', prefix .. state, id)) == 'string' then return state, stored end
  end
end

-- Applies the ends of some children to their parent. Returns whether it waits for fewer now.
local function notify(children, parent, is_old)
  local before = #children
  local left = before
  for _, child in ipairs(children) do
    local state, stored = outcome_of(child)
    if state == 'completed' then
      flow.completed(child, parent, nil, stored[3] or 'null')
    elseif state == 'failed' then
      child_failed(flow, child, parent, nil, stored[5], stored[4] or '', now)
    elseif state == 'gone' and is_old then
      flow.unlink(child, parent)
    end
    if state and redis.call('SISMEMBER', parent .. ':dependencies', child) == 0 then left = left - 1 end
  end
  -- The program that removed the last child did not release the parent.
  if before == 0 and is_old then
    flow.release(parent)
    return not redis.call('ZSCORE', waiting_children, string.match(parent, '[^:]+$'))
  end
  return left < before
end

local ids = redis.call('ZRANGE', waiting_children, 0, count - 1)
for _, id in ipairs(redis.call('ZRANDMEMBER', waiting_children, count)) do ids[#ids + 1] = id end

-- ZREM first: a full server refuses SET as the first write, and parents must run there too.
redis.call('ZREM', waiting_children, '')
redis.call('SET', checked_at, now, 'PX', interval)
local notified, seen = {}, {}
for _, id in ipairs(ids) do
  local since = redis.call('ZSCORE', waiting_children, id)
  local children = redis.pcall('SRANDMEMBER', jobs .. id .. ':dependencies', sample)
  if since and not seen[id] and not children.err then
    seen[id] = true
    if notify(children, jobs .. id, since + patience <= now) then notified[#notified + 1] = id end
  end
end
return notified
