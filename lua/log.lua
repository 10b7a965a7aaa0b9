--[[
log: append rows to the logs of jobs.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  active    list    ids of running jobs
  jobs      prefix  of the job hashes; the script appends an id
ARGV
  now       int     ms, or empty for the server's time
ROWS
  id        str
  token     str     of the claim; empty: a producer's or an operator's write, not fenced
  fence     int     `ats` of the claim
  row       str
  keep      int     newest rows kept, this one included; empty for all
RETURNS
  for each row: how many rows the job's log has now, or -1 lost, -2 missing, -3 finished by this claim
  Sent again it appends a second time.
]]
local active, jobs = unpack(KEYS)
local stride, first = 5, 2

--@include check_claims
--@include job_exists
--@include check_write

local answers = {}
redis.call('LLEN', active)
for i = first, #ARGV, stride do
  answers[#answers + 1] = -check_write(jobs, active, ARGV[i], ARGV[i + 1], ARGV[i + 2])
  redis.call('LLEN', jobs .. ARGV[i] .. ':logs')
end
for n, refusal in ipairs(answers) do
  local i = first + (n - 1) * stride
  local logs, keep = jobs .. ARGV[i] .. ':logs', ARGV[i + 4]
  if refusal == 0 and keep ~= '0' then
    answers[n] = redis.call('RPUSH', logs, ARGV[i + 3])
    if keep ~= '' and answers[n] > tonumber(keep) then
      redis.call('LTRIM', logs, -keep, -1)
      answers[n] = tonumber(keep)
    end
  end
end
return answers
