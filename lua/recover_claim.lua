--[[
recover_claim: return the jobs of a claim whose reply was lost, and renew their locks.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  active       list    ids of running jobs
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  token        str     that the lost call was sent with
  lock         int     ms until a lock expires
  skip         int     ids at the new end of `active` that were read before
  count        int     ids to read in this call
RETURNS
  the jobs as two lists, as in `claim`; ids to skip in the next call, or -1 when all were read
  Sent again it returns the same rows.
]]
local active, jobs = unpack(KEYS)
local _, token, lock_ms, skip, count = unpack(ARGV)
skip, count = tonumber(skip), tonumber(count)

local ids = redis.call('LRANGE', active, skip, skip + count - 1)
local rows, details = {}, {}
-- From the old end: in the order in which they were claimed.
for n = #ids, 1, -1 do
  local id = ids[n]
  local job = redis.pcall('HMGET', jobs .. id, 'name', 'data', 'opts', 'timestamp', 'ats', 'owner',
    'progress', 'defa', 'priority', 'atm', 'stc', 'stacktrace')
  -- The lock may have expired since: until another claim takes the job, the owner in the hash is this token. A BullMQ worker that
  -- takes it leaves the owner and sets the lock.
  local lock = jobs .. id .. ':lock'
  local holder = redis.pcall('GET', lock)
  if not job.err and job[6] == token and (holder == token or not holder) then
    details[#details + 1] = #rows / 6
    for field = 7, 12 do details[#details + 1] = job[field] end
    job[6] = id
    for field = 1, 6 do rows[#rows + 1] = job[field] end
    if redis.call('PEXPIRE', lock, lock_ms) == 0 then redis.call('SET', lock, token, 'PX', lock_ms, 'NX') end
  end
end
return { rows, details, #ids < count and -1 or skip + #ids }
