--[[
find_oldest: return candidates for the job that has waited longest: the jobs next to run, and the first of each priority.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  prioritized  zset    ids by priority
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  count        int     jobs to read of each list, and priorities, at most
RETURNS
  the time in ms; for each job its id, name, timestamp, processedOn and opts
]]
local wait, paused, prioritized, jobs = unpack(KEYS)
local count = tonumber(ARGV[2])

--@include clock

local ids = {}
for _, list in ipairs({ paused, wait }) do
  for _, id in ipairs(redis.call('LRANGE', list, -count, -1)) do ids[#ids + 1] = id end
end
local from = 0
for _ = 1, count do
  local first = redis.call('ZRANGEBYSCORE', prioritized, string.format('%.0f', from), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not first[1] then break end
  ids[#ids + 1] = first[1]
  from = (math.floor(first[2] / 4294967296) + 1) * 4294967296
end
local now = clock(ARGV[1])
local answer = { now }
for _, id in ipairs(ids) do
  -- pcall: a foreign key at the place of one job must not hide the others.
  local job = redis.pcall('HMGET', jobs .. id, 'name', 'timestamp', 'processedOn', 'opts')
  if not job.err and job[2] then answer[#answer + 1] = { id, job[1] or '', job[2], job[3] or '', job[4] or '' } end
end
return answer
