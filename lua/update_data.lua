--[[
update_data: replace the data of a job.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  active    list    ids of running jobs
  jobs      prefix  of the job hashes; the script appends an id
ARGV
  now       int     ms, or empty for the server's time
  id        str
  token     str     of the claim; empty: a producer's or an operator's write, not fenced
  fence     int     `ats` of the claim
  data      bytes   JSON
  cap       int     largest size of the data, bytes
RETURNS
  0 done
  1 lost, 2 missing, 3 finished by this claim, 4 larger than the cap; nothing was written
  Sent again it stores the same.
]]
local active, jobs = unpack(KEYS)
local _, id, token, fence, data, cap = unpack(ARGV)

--@include check_claims
--@include job_exists
--@include check_write

if #data > tonumber(cap) then return 4 end
local refusal = check_write(jobs, active, id, token, fence)
if refusal == 0 then redis.call('HSET', jobs .. id, 'data', data) end
return refusal
