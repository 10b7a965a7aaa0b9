-- The structure in which a job waits to be run, or false. `k` names the keys: delayed prioritized wait paused.
local function standing(k, id)
  if redis.call('ZSCORE', k.delayed, id) then return 'delayed' end
  if redis.call('ZSCORE', k.prioritized, id) then return 'prioritized' end
  -- A run that is due stands at the new end or near the old one; a walk through 100,000 takes 4 ms.
  if redis.call('LPOS', k.wait, id) then return 'wait' end
  if redis.call('LPOS', k.paused, id) then return 'paused' end
  return false
end
