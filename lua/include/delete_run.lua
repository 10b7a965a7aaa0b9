-- Delete the run of a schedule that waits in that structure (see find_waiting); it has neither a parent nor a deduplication. `k` names the keys: delayed prioritized wait paused jobs.
local function delete_run(k, id, structure)
  delete_jobs(k.jobs, { id })
  if structure == 'delayed' or structure == 'prioritized' then
    redis.call('ZREM', k[structure], id)
  else
    redis.call('LREM', k[structure], -1, id)
  end
end
