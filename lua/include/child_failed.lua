-- Marks a parent to fail at its next run. One that waits for its children, or for its due time, is enqueued at once.
local function fail_parent(flow, parent, reason)
  local queue, id = flow.queue_of(parent)
  if not queue then return end
  for _, state in ipairs({ 'waiting-children', 'delayed' }) do
    if redis.call('ZSCORE', queue.jobs .. state, id) then
      redis.call('HSET', parent, 'defa', reason, 'delay', 0)
      flow.enqueue_parent(queue, id, redis.call('HGET', parent, 'priority'), state)
      return
    end
  end
  -- A finished parent keeps its result.
  if redis.call('HEXISTS', parent, 'finishedOn') == 0 then redis.call('HSET', parent, 'defa', reason) end
end

-- Applies the final failure of a child to one parent that waits for it.
local function apply_failure(flow, child, parent, flags, reason, now, is_deleted)
  if flags.fpof == true then
    redis.pcall('ZADD', parent .. ':unsuccessful', string.format('%.0f', now), child)
    fail_parent(flow, parent, 'child ' .. child .. ' failed')
    redis.call('SREM', parent .. ':dependencies', child)
  elseif flags.cpof == true then
    redis.pcall('HSET', parent .. ':failed', child, reason)
    flow.release(parent)
    redis.call('SREM', parent .. ':dependencies', child)
  elseif flags.idof == true then
    redis.pcall('HSET', parent .. ':failed', child, reason)
    flow.remove_child(child, parent)
  elseif flags.rdof == true or is_deleted then
    flow.remove_child(child, parent)
  end
end

-- Applies the final failure of a child to its parents, by the flags in its hash: `link` is the field `parent`, JSON of any producer:
-- fpof fail the parent, cpof run it early, idof ignore the failure, rdof remove the child. Without a flag the parent goes on waiting
-- for the child, unless retention deletes it at once (`is_deleted`). `first` and `also` as in parent_keys, `flow` is by release_parents.
local function child_failed(flow, child, first, also, link, reason, now, is_deleted)
  -- pcall: foreign text. A flag is `true` and nothing else, since a JSON null is true to Lua.
  local is_json, flags = pcall(cjson.decode, link or '')
  if not is_json or type(flags) ~= 'table' then flags = {} end
  for _, parent in ipairs(parent_keys(first, also)) do
    if flow.waits_for(child, parent) then apply_failure(flow, child, parent, flags, reason, now, is_deleted) end
  end
end
