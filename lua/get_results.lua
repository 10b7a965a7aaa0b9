--[[
get_results: return results or failure reasons of jobs, for a producer that waits for them.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  completed  zset    ids by finish time, ms
  failed     zset    ids by finish time, ms
  jobs       prefix  of the job hashes; the script appends an id
ARGV
  now        int     ms, or empty for the server's time
ROWS
  id         str
RETURNS
  two items for each of the first ids, for all of them unless the values have over 1 MiB: 0 no such job, 1 completed, 2 failed or 3 not ended; then the result (JSON), the reason, or nothing
]]
local completed, failed, jobs = unpack(KEYS)

local answers, bytes = {}, 0
for i = 2, #ARGV do
  -- A larger reply would block the server for too long.
  if bytes > 1048576 then break end
  local job, code, value = jobs .. ARGV[i], 3, false
  if redis.call('EXISTS', job) == 0 then
    code = 0
  elseif redis.call('ZSCORE', completed, ARGV[i]) then
    code, value = 1, redis.call('HGET', job, 'returnvalue')
  elseif redis.call('ZSCORE', failed, ARGV[i]) then
    code, value = 2, redis.call('HGET', job, 'failedReason')
  end
  answers[#answers + 1] = code
  answers[#answers + 1] = value
  bytes = bytes + #(value or '')
end
return answers
