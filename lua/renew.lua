--[[
renew: renew the locks of running jobs.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  active       list    ids of running jobs
  stalled      set     ids that a BullMQ worker marked as possibly stalled
  watch        str     what the server has seen of all workers' checks (see include/watch)
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  lock         int     ms until a lock expires, counted from now
ROWS
  id           str
  token        str     of the claim
  fence        int     `ats` of the claim
RETURNS
  for each refused row: its number from 0, then 1 lost (another claim holds the job), 2 missing or 3 done before by this claim
  Sent again it renews again. An expired lock is set again, unless another claim took the job.
]]
local active, stalled, watch, jobs = unpack(KEYS)
local stride, first = 3, 3

--@include check_claims

local call, lock_ms = redis.call, ARGV[2]
local suspects = call('SCARD', stalled) > 0
local good, _, refused, _, locks = check_claims(jobs, active, ARGV, first, stride, nil, nil, true)
local had_expired = false
for _, i in ipairs(good) do
  local lock = locks[(i - first) / stride + 1]
  if suspects then call('SREM', stalled, ARGV[i]) end
  -- PEXPIRE first: a full server refuses SET as the first write. check_claims proved that the job is still this claim's, so SET may set
  -- an expired lock again.
  if call('PEXPIRE', lock, lock_ms) == 0 then
    call('SET', lock, ARGV[i + 1], 'PX', lock_ms, 'NX')
    had_expired = true
  end
end
-- Workers are reconnecting after an outage: a grace that runs starts again, in case the server goes down again.
if had_expired then
  local text = redis.pcall('GET', watch)
  if type(text) == 'string' and string.match(text, '^%d+ [1-9]') then redis.call('DEL', watch) end
end
return refused
