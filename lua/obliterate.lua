--[[
obliterate: delete a paused queue with all its jobs.

MOVES    wait -> gone, paused -> gone, active -> gone, prioritized -> gone, delayed -> gone,
  waiting-children -> gone, completed -> gone, failed -> gone
CAUSES   release_parents, merge_paused
EMITS    waiting, delayed

KEYS
  meta              hash    of the queue
  id                counter of the jobs ever added
  wait              list    ids without a priority
  paused            list    the same while the queue is paused
  active            list    ids of running jobs
  prioritized       zset    ids by priority
  pc                counter that keeps one priority first in, first out
  delayed           zset    ids by due time
  waiting_children  zset    parents with open children
  completed         zset    ids by finish time, ms
  failed            zset    ids by finish time, ms
  stalled           set     ids that a BullMQ worker marked as possibly stalled
  stalled_check     str     there while a recovery of stalled jobs is recent
  repeat            zset    schedules
  limiter           counter of the claims in a rate limit's window
  smoothed          str     time up to which starts have used a smoothed rate limit, us
  marker            zset    wakes idle workers
  events            stream
  jobs              prefix  of the job hashes; the script appends an id
ARGV
  now               int     ms, or empty for the server's time
  force             int     1: even if jobs are running
  count             int     jobs deleted in this call, at most 1,000; a dead letter counts as ten
  dead_letters      int     1: dead letters are deleted too; 0: they stay
RETURNS
  0 nothing is left
  1 another call is to delete more
  2 not paused, 3 jobs are running; nothing was written
  Sent again it answers 0.
]]
local meta, counter, wait, paused, active, prioritized, pc, delayed, waiting_children, completed, failed, stalled, stalled_check,
  schedules, limiter, smoothed, marker, events, jobs = unpack(KEYS)
local left, with_letters = tonumber(ARGV[3]), ARGV[4] == '1'

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
--@include dead_letter_indexes
--@include read_dead_letter
--@include index_dead_letter
--@include delete_dead_letters

local flow = release_parents(clock(ARGV[1]))
-- Parents in this queue are deleted too; those in other queues no longer wait.
local function is_deleted(parent) return string.match(parent, '^(.*:)[^:]+$') == jobs end

local lists, zsets = { active, wait, paused }, { prioritized, delayed, waiting_children, completed, failed }
local names = { meta, counter, pc, stalled, stalled_check, limiter, smoothed, marker, events, schedules, jobs .. 'delay', jobs .. 'priority',
  jobs .. 'metrics:completed', jobs .. 'metrics:completed:data', jobs .. 'metrics:failed', jobs .. 'metrics:failed:data',
  jobs .. 'corral:cancelling', jobs .. 'corral:schedules:looked', jobs .. 'corral:parents:looked' }
if with_letters then
  for _, word in ipairs({ 'types', 'errors', 'tenants', 'alerts' }) do names[#names + 1] = jobs .. 'corral:dead:' .. word end
end
local found = redis.call('EXISTS', unpack(names))
for _, key in ipairs(lists) do found = found + redis.call('LLEN', key) end
for _, key in ipairs(zsets) do found = found + redis.call('ZCARD', key) end
redis.call('ZCARD', schedules)
local indexes = with_letters and { jobs .. 'corral:dead:open', jobs .. 'corral:dead:replayed' } or {}
for _, index in ipairs(indexes) do found = found + redis.call('ZCARD', index) end
if found == 0 then return 0 end
if redis.call('HEXISTS', meta, 'paused') == 0 then return 2 end
if ARGV[2] ~= '1' and redis.call('LLEN', active) > 0 then return 3 end

for _, key in ipairs(lists) do
  local ids = left > 0 and redis.call('LRANGE', key, -left, -1) or {}
  left = left - #ids
  if key == active then
    for _, id in ipairs(ids) do redis.call('DEL', jobs .. id .. ':lock') end
  end
  remove_jobs(jobs, ids, flow, is_deleted)
  if #ids > 0 then redis.call('LTRIM', key, 0, -#ids - 1) end
end
for _, key in ipairs(zsets) do
  local ids = left > 0 and redis.call('ZRANGE', key, 0, left - 1) or {}
  left = left - #ids
  remove_jobs(jobs, ids, flow, is_deleted)
  if #ids > 0 then redis.call('ZREM', key, unpack(ids)) end
end
local deleted = left > 0 and redis.call('ZRANGE', schedules, 0, left - 1) or {}
left = left - #deleted
for _, schedule in ipairs(deleted) do redis.call('DEL', jobs .. 'repeat:' .. schedule) end
if #deleted > 0 then redis.call('ZREM', schedules, unpack(deleted)) end
for _, index in ipairs(indexes) do
  -- Deleting a letter takes as long as ten jobs.
  local letters = left > 0 and redis.call('ZRANGE', index, 0, math.ceil(left / 10) - 1) or {}
  left = left - 10 * #letters
  delete_dead_letters(jobs, letters)
end
if left <= 0 then return 1 end

-- Last: until then the flag in `meta` keeps workers from claiming.
redis.call('DEL', jobs .. 'corral:watch', unpack(names))
return 0
