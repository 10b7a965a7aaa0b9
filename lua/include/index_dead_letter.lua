-- Adds open dead letters to their indexes (`put`), or removes them, and updates the counts of their groups. `letters` by
-- read_dead_letter or prepare_dead_letter, `counts` by check_dead_letter_types.
local function index_dead_letter(jobs, letters, put, counts)
  if #letters == 0 then return end
  local members_of, groups = {}, {}
  for _, one in ipairs(letters) do
    for _, index in ipairs(one.indexes) do
      local members = members_of[index.key]
      if not members then
        members = {}
        members_of[index.key] = members
        if index.group then groups[index.key] = index end
      end
      if put then members[#members + 1] = one.at end
      members[#members + 1] = one.id
    end
  end
  for key, members in pairs(members_of) do
    local changed = redis.call(put and 'ZADD' or 'ZREM', key, unpack(members))
    if groups[key] then counts[key] = counts[key] + (put and changed or -changed) end
  end
  local larger, empty = {}, {}
  for key, index in pairs(groups) do
    local lists = counts[key] > 0 and larger or empty
    local list = lists[index.groups] or {}
    lists[index.groups] = list
    if counts[key] > 0 then list[#list + 1] = counts[key] end
    list[#list + 1] = index.group
  end
  for key, list in pairs(larger) do redis.call('ZADD', key, unpack(list)) end
  for key, list in pairs(empty) do redis.call('ZREM', key, unpack(list)) end
end

-- Returns how many letters each group's index has, of the groups that these letters need, and those of the letters that they replace
-- (`old`). Sets `indexes` in each letter. Raises before the first write if an index is not of its type.
local function check_dead_letter_types(jobs, letters)
  local counts, asked, keys, last = {}, {}, {}, {}
  local function ask(key)
    if not asked[key] then
      asked[key] = true
      keys[#keys + 1] = key
    end
  end
  for _, name in ipairs({ 'replayed', 'types', 'errors', 'tenants' }) do ask(jobs .. 'corral:dead:' .. name) end
  local function ask_all(one)
    -- Letters of one call are often alike.
    local is_alike = one.type == last.type and one.error == last.error and one.tenant == last.tenant
    one.indexes, last = is_alike and last.indexes or indexes_of(jobs, one), one
    if is_alike then return end
    for _, index in ipairs(one.indexes) do
      ask(index.key)
      if index.group and not counts[index.key] then counts[index.key] = redis.call('ZCARD', index.key) end
    end
  end
  for _, one in ipairs(letters) do
    ask_all(one)
    if one.old then ask_all(one.old) end
  end
  -- One command checks all types. A key that never exists makes the intersection empty, so no members are read.
  redis.call('ZINTERCARD', #keys + 1, jobs .. 'corral:dead:none', unpack(keys))
  return counts
end
