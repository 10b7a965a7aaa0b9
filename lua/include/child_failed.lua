-- The parent is to fail when it runs next, and that at once if it waits for children or for its time.
local function doom(family, parent, reason)
  local q, id = family.queue_of(parent)
  if not q then return end
  for _, state in ipairs({ 'waiting-children', 'delayed' }) do
    if redis.call('ZSCORE', q.jobs .. state, id) then
      redis.call('HSET', parent, 'defa', reason, 'delay', 0)
      family.line_up(q, id, redis.call('HGET', parent, 'priority'), state)
      return
    end
  end
  -- One that has ended is past it.
  if redis.call('HEXISTS', parent, 'finishedOn') == 0 then redis.call('HSET', parent, 'defa', reason) end
end

-- What the final failure of a child does to one parent that waits for it.
local function suffer(family, child, parent, flags, reason, now, goes)
  if flags.fpof == true then
    redis.pcall('ZADD', parent .. ':unsuccessful', string.format('%.0f', now), child)
    doom(family, parent, 'child ' .. child .. ' failed')
    redis.call('SREM', parent .. ':dependencies', child)
  elseif flags.cpof == true then
    redis.pcall('HSET', parent .. ':failed', child, reason)
    family.release(parent)
    redis.call('SREM', parent .. ':dependencies', child)
  elseif flags.idof == true then
    redis.pcall('HSET', parent .. ':failed', child, reason)
    family.strike(child, parent)
  elseif flags.rdof == true or goes then
    family.strike(child, parent)
  end
end

-- What the final failure of a child does to its parents, by the flags in the child's hash: `said` is its field `parent`, JSON of any
-- producer. Without a flag the child stays among those that are waited for; if it `goes` at once, it is nobody's.
local function child_failed(family, child, first, also, said, reason, now, goes)
  -- pcall: foreign text. A flag is `true` and nothing else, since a JSON null is true to Lua.
  local read, flags = pcall(cjson.decode, said or '')
  if not read or type(flags) ~= 'table' then flags = {} end
  for _, parent in ipairs(parents(first, also)) do
    if family.waits_for(child, parent) then suffer(family, child, parent, flags, reason, now, goes) end
  end
end
