-- Keys of dead letters. A dead letter has a record, which is a hash, and is a member of indexes, sorted sets by the time of the
-- failure: an open one of `open` and of one for each combination of its type, error and tenant, a replayed one of `replayed`.
-- `types`, `errors` and `tenants` hold how many open letters each has.
local function record_of(jobs, id) return jobs .. 'corral:dead:letter:' .. id .. ':record' end

-- Whether a field of any program is a time that an index can hold.
local function is_time(text)
  if not text or not string.find(text, '^-?%d+%.?%d*$') then return false end
  return math.abs(tonumber(text)) < 2 ^ 53
end

-- The indexes of an open letter with this type, error and tenant, each with its `key`: first `open`, last the one of all three. An index
-- of a single group also has `groups`, the key of the counts, and `group`, its name. Lengths keep values with colons apart.
local function indexes_of(jobs, letter)
  local head, indexes, kinds, values = jobs .. 'corral:dead:', { { key = jobs .. 'corral:dead:open' } }, { '' }, { '' }
  for _, kind in ipairs({ 'type', 'error', 'tenant' }) do
    local value = letter[kind]
    if value and value ~= '' then
      local before, part = #indexes, ':' .. #value .. ':' .. value
      for n = 1, before do
        kinds[before + n], values[before + n] = (n == 1 and '' or kinds[n] .. '+') .. kind, values[n] .. part
        indexes[before + n] = { key = head .. kinds[before + n] .. values[before + n] .. ':ids' }
      end
      indexes[before + 1].groups, indexes[before + 1].group = head .. kind .. 's', value
    end
  end
  return indexes
end
