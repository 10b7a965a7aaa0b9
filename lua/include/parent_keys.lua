-- The keys of all parents of a job: `first` is its field `parentKey`, and `also` its field of that name, further keys, one a line. Either
-- may be empty, nil or false.
local function parent_keys(first, also)
  local keys = {}
  if first and first ~= '' then keys[1] = first end
  if also and also ~= '' then
    for key in string.gmatch(also, '[^\n]+') do keys[#keys + 1] = key end
  end
  return keys
end
