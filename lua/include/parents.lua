-- The keys of all parents of a job: `first`, which stands in its hash as BullMQ's `parentKey`, and those of its field `also`, one a
-- line. Either may be empty or nothing.
local function parents(first, also)
  local keys = {}
  if first and first ~= '' then keys[1] = first end
  if also and also ~= '' then
    for key in string.gmatch(also, '[^\n]+') do keys[#keys + 1] = key end
  end
  return keys
end
