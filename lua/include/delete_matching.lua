-- Look at `count` ids of a structure beyond the `skip` oldest, and delete the jobs of which `goes(id)` is true.
-- `family` and `takes_parent` are forget's.
-- Returns their ids, oldest first, and how many others stayed.
local function delete_matching(key, is_list, jobs, skip, count, goes, family, takes_parent)
  local ids = is_list and redis.call('LRANGE', key, -skip - count, -skip - 1) or redis.call('ZRANGE', key, skip, skip + count - 1)
  local gone, places = {}, {}
  for n = 1, #ids do
    local id = ids[is_list and #ids + 1 - n or n]
    if goes(id) then
      gone[#gone + 1] = id
      places[#gone] = -skip - n
    end
  end
  if #gone == 0 then return gone, #ids end
  if is_list then
    -- Before a parent that is released by it gets in this line, which would move the places; and DEL before that, which a full
    -- server allows as the first write.
    redis.call('DEL', jobs .. gone[1] .. ':logs')
    -- Blanked by place and swept once from the old end: LREM for each id would walk past all that stayed, each time.
    for _, place in ipairs(places) do redis.call('LSET', key, place, '') end
    redis.call('LREM', key, -#gone, '')
  end
  -- Hashes first: a script that fails here leaves ids that a claim drops as missing, not hashes that nothing names.
  remove_jobs(jobs, gone, family, takes_parent)
  if not is_list then redis.call('ZREM', key, unpack(gone)) end
  return gone, #ids - #gone
end
