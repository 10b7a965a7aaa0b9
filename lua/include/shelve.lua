-- Put open dead letters on their shelves, or take them off, and count the groups anew. Letters as `letter` gives them, `counts` as
-- `shelves_sound` does.
local function shelve(jobs, letters, put, counts)
  if #letters == 0 then return end
  local lots, groups = {}, {}
  local function note(shelf, one)
    local lot = lots[shelf]
    if not lot then
      lot = {}
      lots[shelf] = lot
    end
    if put then lot[#lot + 1] = one.at end
    lot[#lot + 1] = one.id
  end
  for _, one in ipairs(letters) do
    note(jobs .. 'corral:dead:open', one)
    for _, kind in ipairs({ 'type', 'error', 'tenant' }) do
      local value = one[kind]
      if value and value ~= '' then
        local shelf = shelf_of(jobs, kind, value)
        if not lots[shelf] then groups[shelf] = { jobs .. 'corral:dead:' .. kind .. 's', value } end
        note(shelf, one)
      end
    end
  end
  local larger, empty = {}, {}
  for shelf, lot in pairs(lots) do
    local changed = redis.call(put and 'ZADD' or 'ZREM', shelf, unpack(lot))
    local count = counts[shelf] + (put and changed or -changed)
    counts[shelf] = count
    local group = groups[shelf]
    if group then
      local lists = count > 0 and larger or empty
      local list = lists[group[1]] or {}
      lists[group[1]] = list
      if count > 0 then list[#list + 1] = count end
      list[#list + 1] = group[2]
    end
  end
  for key, list in pairs(larger) do redis.call('ZADD', key, unpack(list)) end
  for key, list in pairs(empty) do redis.call('ZREM', key, unpack(list)) end
end

-- How many stand on each shelf that those letters need, and those that drafts of letters are written over. Raises, before anything is written, if one is not of its type.
local function shelves_sound(jobs, letters)
  local counts = {}
  local function ask(key)
    if not counts[key] then counts[key] = redis.call('ZCARD', key) end
  end
  for _, name in ipairs({ 'open', 'replayed', 'types', 'errors', 'tenants' }) do ask(jobs .. 'corral:dead:' .. name) end
  local function ask_all(one)
    for _, kind in ipairs({ 'type', 'error', 'tenant' }) do
      if one[kind] and one[kind] ~= '' then ask(shelf_of(jobs, kind, one[kind])) end
    end
  end
  for _, one in ipairs(letters) do
    ask_all(one)
    if one.old then ask_all(one.old) end
  end
  return counts
end
