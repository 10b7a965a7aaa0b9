-- Sets the locks of claimed jobs, given the keys of their hashes. Valkey 9.1 and Redis 8.4 set many keys with one time to live in one
-- command. The others take MSET and PEXPIRE, because each SET would make a table for its reply. After MSET the server refuses no write of
-- this script. If PEXPIRE fails all the same, the jobs are still waiting, and the next claim sets the locks again.
local has_msetex = (redis.REDIS_VERSION_NUM or 0) >= 0x00080400
local valkey = rawget(_G, 'server')
if valkey then has_msetex = (valkey.VALKEY_VERSION_NUM or 0) >= 0x00090100 end

local function lock(keys, token, ms)
  local call, count, locks = redis.call, #keys, {}
  for n = 1, count do
    locks[2 * n - 1], locks[2 * n] = keys[n] .. ':lock', token
  end
  if has_msetex then
    locks[2 * count + 1], locks[2 * count + 2] = 'PX', ms
    call('MSETEX', count, unpack(locks))
    return
  end
  call('MSET', unpack(locks))
  for n = 1, 2 * count, 2 do call('PEXPIRE', locks[n], ms) end
end
