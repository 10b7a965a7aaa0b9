-- Checks `count` jobs of a list or sorted set, beyond the `skip` oldest, and deletes those of which `matches(id)` is true; with nil the
-- check ends before this job. `flow` and `deletes_parent` as in remove_jobs. Returns the deleted ids, oldest first, how many of
-- the checked jobs stay, and whether there may be more jobs to check.
local function delete_matching(key, is_list, jobs, skip, count, matches, flow, deletes_parent)
  local ids = is_list and redis.call('LRANGE', key, -skip - count, -skip - 1) or redis.call('ZRANGE', key, skip, skip + count - 1)
  local deleted, places, checked = {}, {}, 0
  for n = 1, #ids do
    local id = ids[is_list and #ids + 1 - n or n]
    local is_wanted = matches(id)
    if is_wanted == nil then break end
    checked = n
    if is_wanted then
      deleted[#deleted + 1] = id
      places[#deleted] = -skip - n
    end
  end
  local more = checked == count or checked < #ids
  if #deleted == 0 then return deleted, checked, more end
  if is_list then
    -- Ids leave the list first: a parent that is released into it would move the places. DEL is a write that a full server allows first.
    redis.call('DEL', jobs .. deleted[1] .. ':logs')
    -- Blanked by place, then removed by one LREM: an LREM for each id would walk past all jobs that stay, each time.
    for _, place in ipairs(places) do redis.call('LSET', key, place, '') end
    redis.call('LREM', key, -#deleted, '')
  end
  -- Hashes first: an abort here leaves ids, which a claim drops as missing, not hashes that nothing names.
  remove_jobs(jobs, deleted, flow, deletes_parent)
  if not is_list then redis.call('ZREM', key, unpack(deleted)) end
  return deleted, checked - #deleted, more
end
