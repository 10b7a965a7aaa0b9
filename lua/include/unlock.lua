-- Deletes the locks of these rows: the first write of a call, and one that a full server still allows. `suspects`: whether `stalled` has
-- members, and `locks`: the lock keys of all rows, good or not; both where the caller has them from check_claims.
local function unlock(jobs, stalled, rows, good, suspects, locks)
  if suspects == nil then suspects = redis.call('SCARD', stalled) > 0 end
  local count = #good
  if count == 0 then return end
  if not locks or #locks ~= count then
    locks = {}
    for n = 1, count do locks[n] = jobs .. rows[good[n]] .. ':lock' end
  end
  redis.call('DEL', unpack(locks))
  if not suspects then return end
  local ids = {}
  for n = 1, count do ids[n] = rows[good[n]] end
  redis.call('SREM', stalled, unpack(ids))
end
