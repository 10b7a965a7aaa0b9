--[[
renew: prolong the locks of jobs that are being run.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  active       list    ids being run
  stalled      set     ids that a BullMQ worker suspects
  watch        str     what was seen of the looks of all workers (see watch)
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  lock         int     ms until a lock ends by itself, counted from now
ROWS
  id           str
  token        str     of the claim
  fence        int     `ats` of the claim
RETURNS
  for each row that was refused: its number from 0, then 1 lost, 2 missing or 3 already done by this claim
  Sent again it prolongs again. A lock that ended while nobody took the job is set anew.
]]
local active, stalled, watch, jobs = unpack(KEYS)
local stride, first = 3, 3

--@include check_claims

redis.call('SCARD', stalled)
local good, _, refused = check_claims(jobs, active, ARGV, first, stride)
local had_ended = false
for _, i in ipairs(good) do
  local lock = jobs .. ARGV[i] .. ':lock'
  redis.call('SREM', stalled, ARGV[i])
  -- PEXPIRE first: a full server refuses SET, and must not refuse to keep what is held. See held for why NX may set.
  if redis.call('PEXPIRE', lock, ARGV[2]) == 0 then
    redis.call('SET', lock, ARGV[i + 1], 'PX', ARGV[2], 'NX')
    had_ended = true
  end
end
-- Workers come back from an outage: a grace that has begun begins again, so that a server that goes down again takes nobody's.
if had_ended then
  local text = redis.pcall('GET', watch)
  if type(text) == 'string' and string.match(text, '^%d+ [1-9]') then redis.call('DEL', watch) end
end
return refused
