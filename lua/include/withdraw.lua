-- Delete the run of a schedule that waits in that structure (see standing); it has neither a parent nor a deduplication. `k` names the keys: delayed prioritized wait paused jobs.
local function withdraw(k, id, structure)
  drop(k.jobs, { id })
  if structure == 'delayed' or structure == 'prioritized' then
    redis.call('ZREM', k[structure], id)
  else
    redis.call('LREM', k[structure], -1, id)
  end
end
