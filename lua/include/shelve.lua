-- Put open dead letters on their shelves, or take them off, and count the groups anew. Letters as `letter` gives them.
local function shelve(jobs, letters, put)
  if #letters == 0 then return end
  local open, lots, groups = jobs .. 'corral:dead:open', {}, {}
  local function note(shelf, one)
    local lot = lots[shelf] or {}
    lots[shelf] = lot
    if put then lot[#lot + 1] = one.at end
    lot[#lot + 1] = one.id
  end
  for _, one in ipairs(letters) do
    note(open, one)
    for _, kind in ipairs({ 'type', 'error', 'tenant' }) do
      local value = one[kind]
      if value and value ~= '' then
        local shelf = shelf_of(jobs, kind, value)
        note(shelf, one)
        groups[shelf] = { jobs .. 'corral:dead:' .. kind .. 's', value }
      end
    end
  end
  for shelf, lot in pairs(lots) do redis.call(put and 'ZADD' or 'ZREM', shelf, unpack(lot)) end
  for shelf, group in pairs(groups) do
    local count = redis.call('ZCARD', shelf)
    if count > 0 then redis.call('ZADD', group[1], count, group[2]) else redis.call('ZREM', group[1], group[2]) end
  end
end

-- Raise, before anything is written, if a shelf that those letters need is not of its type.
local function shelves_sound(jobs, letters)
  local asked = {}
  local function ask(key)
    if not asked[key] then redis.call('ZCARD', key) end
    asked[key] = true
  end
  for _, name in ipairs({ 'open', 'replayed', 'types', 'errors', 'tenants' }) do ask(jobs .. 'corral:dead:' .. name) end
  for _, one in ipairs(letters) do
    for _, kind in ipairs({ 'type', 'error', 'tenant' }) do
      if one[kind] and one[kind] ~= '' then ask(shelf_of(jobs, kind, one[kind])) end
    end
  end
end
