-- The name of the structure that holds a job, or 'unknown'. `queue` has completed, failed, delayed, prioritized, waiting_children, active,
-- wait, paused, jobs; and `reach`, how many list entries this call may still walk past.
local function state(queue, id)
  if redis.call('EXISTS', queue.jobs .. id) == 0 then return 'unknown' end
  if redis.call('ZSCORE', queue.completed, id) then return 'completed' end
  if redis.call('ZSCORE', queue.failed, id) then return 'failed' end
  if redis.call('ZSCORE', queue.delayed, id) then return 'delayed' end
  if redis.call('ZSCORE', queue.prioritized, id) then return 'prioritized' end
  if redis.call('ZSCORE', queue.waiting_children, id) then return 'waiting-children' end
  if redis.call('EXISTS', queue.jobs .. id .. ':lock') == 1 then return 'active' end
  for _, name in ipairs({ 'active', 'wait', 'paused' }) do
    -- A walk costs some 40 ns an entry, and blocks the server. Past `reach`, a job that is in nothing else is taken to wait.
    queue.reach = queue.reach - redis.call('LLEN', queue[name])
    if queue.reach < 0 then return 'wait' end
    if redis.call('LPOS', queue[name], id) then return name end
  end
  return 'unknown'
end
