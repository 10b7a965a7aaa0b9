-- Put open dead letters on their shelves, or take them off, and count the groups anew. Letters as `letter` gives them, `counts` as
-- `shelves_sound` does.
local function index_dead_letter(jobs, letters, put, counts)
  if #letters == 0 then return end
  local lots, groups = {}, {}
  for _, one in ipairs(letters) do
    for _, shelf in ipairs(one.shelves) do
      local lot = lots[shelf.key]
      if not lot then
        lot = {}
        lots[shelf.key] = lot
        if shelf.group then groups[shelf.key] = shelf end
      end
      if put then lot[#lot + 1] = one.at end
      lot[#lot + 1] = one.id
    end
  end
  for key, lot in pairs(lots) do
    local changed = redis.call(put and 'ZADD' or 'ZREM', key, unpack(lot))
    if groups[key] then counts[key] = counts[key] + (put and changed or -changed) end
  end
  local larger, empty = {}, {}
  for key, shelf in pairs(groups) do
    local lists = counts[key] > 0 and larger or empty
    local list = lists[shelf.groups] or {}
    lists[shelf.groups] = list
    if counts[key] > 0 then list[#list + 1] = counts[key] end
    list[#list + 1] = shelf.group
  end
  for key, list in pairs(larger) do redis.call('ZADD', key, unpack(list)) end
  for key, list in pairs(empty) do redis.call('ZREM', key, unpack(list)) end
end

-- How many stand on each shelf that is counted as a group, of those that the letters need, and those that drafts of letters are
-- written over; notes their shelves in them. Raises, before anything is written, if one is not of its type.
local function dead_letter_types_ok(jobs, letters)
  local counts, asked, keys, last = {}, {}, {}, {}
  local function ask(key)
    if not asked[key] then
      asked[key] = true
      keys[#keys + 1] = key
    end
  end
  for _, name in ipairs({ 'replayed', 'types', 'errors', 'tenants' }) do ask(jobs .. 'corral:dead:' .. name) end
  local function ask_all(one)
    -- Letters that come together are often alike.
    local is_alike = one.type == last.type and one.error == last.error and one.tenant == last.tenant
    one.shelves, last = is_alike and last.shelves or indexes_of(jobs, one), one
    if is_alike then return end
    for _, shelf in ipairs(one.shelves) do
      ask(shelf.key)
      if shelf.group and not counts[shelf.key] then counts[shelf.key] = redis.call('ZCARD', shelf.key) end
    end
  end
  for _, one in ipairs(letters) do
    ask_all(one)
    if one.old then ask_all(one.old) end
  end
  -- One question for the types of all. The key that never is makes the answer nothing, so that no members are looked at.
  redis.call('ZINTERCARD', #keys + 1, jobs .. 'corral:dead:none', unpack(keys))
  return counts
end
