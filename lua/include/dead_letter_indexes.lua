-- Dead letters. Each has a record, a hash, and stands on shelves, sorted sets by the time of the failure: until it is replayed on
-- `open` and on one for all that is said of its type, error and tenant, alone and together; then on `replayed`.
-- `types`, `errors` and `tenants` count them.
local function record_of(jobs, id) return jobs .. 'corral:dead:letter:' .. id .. ':record' end

-- The shelves of an open letter with this type, error and tenant: first `open`, last the one for all three. Of each its key, and
-- where it is that of one group, the key of the groups and the group's name. Lengths keep values that hold colons apart.
local function indexes_of(jobs, one)
  local head, shelves, kinds, values = jobs .. 'corral:dead:', { { key = jobs .. 'corral:dead:open' } }, { '' }, { '' }
  for _, kind in ipairs({ 'type', 'error', 'tenant' }) do
    local value = one[kind]
    if value and value ~= '' then
      local before, said = #shelves, ':' .. #value .. ':' .. value
      for n = 1, before do
        kinds[before + n], values[before + n] = (n == 1 and '' or kinds[n] .. '+') .. kind, values[n] .. said
        shelves[before + n] = { key = head .. kinds[before + n] .. values[before + n] .. ':ids' }
      end
      shelves[before + 1].groups, shelves[before + 1].group = head .. kind .. 's', value
    end
  end
  return shelves
end
