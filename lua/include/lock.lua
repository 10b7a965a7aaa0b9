-- Sets the locks of claimed jobs. Valkey 9.1 and Redis 8.4 set many keys with one time to live in one command.
local has_msetex = (redis.REDIS_VERSION_NUM or 0) >= 0x00080400
local valkey = rawget(_G, 'server')
if valkey then has_msetex = (valkey.VALKEY_VERSION_NUM or 0) >= 0x00090100 end

local function lock(jobs, ids, token, ms)
  if not has_msetex then
    for _, id in ipairs(ids) do redis.call('SET', jobs .. id .. ':lock', token, 'PX', ms) end
    return
  end
  local pairs_of = {}
  for n, id in ipairs(ids) do
    pairs_of[2 * n - 1] = jobs .. id .. ':lock'
    pairs_of[2 * n] = token
  end
  pairs_of[#pairs_of + 1] = 'PX'
  pairs_of[#pairs_of + 1] = ms
  redis.call('MSETEX', #ids, unpack(pairs_of))
end
