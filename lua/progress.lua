--[[
progress: store the progress of jobs, with an event.

MOVES    none
CAUSES   none
EMITS    progress

KEYS
  meta      hash    of the queue
  active    list    ids of running jobs
  events    stream
  jobs      prefix  of the job hashes; the script appends an id
ARGV
  now       int     ms, or empty for the server's time
ROWS
  id        str
  token     str     of the claim; empty: a producer's or an operator's write, not fenced
  fence     int     `ats` of the claim
  value     bytes   JSON
RETURNS
  for each refused row: its number from 0, then 1 lost (another claim holds the job), 2 missing or 3 finished by this claim
  Sent again it stores the same, with a second event.
]]
local meta, active, events, jobs = unpack(KEYS)
local stride, first = 4, 2

--@include read_limits
--@include emit
--@include check_types
--@include check_claims
--@include job_exists
--@include check_write

local _, _, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, { active })
local good, refused = {}, {}
for i = first, #ARGV, stride do
  local code = check_write(jobs, active, ARGV[i], ARGV[i + 1], ARGV[i + 2])
  if code == 0 then
    good[#good + 1] = i
  else
    refused[#refused + 1] = (i - first) / stride
    refused[#refused + 1] = code
  end
end
if #good == 0 then return refused end

for _, i in ipairs(good) do
  redis.call('HSET', jobs .. ARGV[i], 'progress', ARGV[i + 3])
  emit('progress', 'jobId', ARGV[i], 'data', ARGV[i + 3])
end
return refused
