--[[
drain: delete jobs that wait, all but the pending runs of schedules. One structure a call; the binding takes them in turn.

MOVES    wait -> gone, paused -> gone, prioritized -> gone, delayed -> gone
EMITS    none

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
  how many were deleted; how many were looked at and stay
  Sent again it deletes further ones.
]]
local wait, paused, prioritized, delayed, schedules, jobs = unpack(KEYS)
local _, state, skip, count = unpack(ARGV)

--@include drop
--@include forget
--@include scheduled
--@include sift

redis.call('ZCARD', schedules)
local key = ({ wait = wait, paused = paused, prioritized = prioritized, delayed = delayed })[state]
local function goes(id) return not scheduled(schedules, jobs, id) end
local gone, stayed = sift(key, state == 'wait' or state == 'paused', jobs, tonumber(skip), tonumber(count), goes)
return { #gone, stayed }
