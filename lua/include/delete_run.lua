-- Deletes the run of a schedule that waits in `structure` (see find_waiting); it has neither parents nor a deduplication.
-- `queue` has delayed, prioritized, wait, paused, jobs.
local function delete_run(queue, id, structure)
  delete_jobs(queue.jobs, { id })
  if structure == 'delayed' or structure == 'prioritized' then
    redis.call('ZREM', queue[structure], id)
  else
    redis.call('LREM', queue[structure], -1, id)
  end
end
