--[[
find_dead_letters: find dead letters, a slice at a time.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  what         str     count, ids or records
  replayed     int     1: those that were replayed, 0: those that were not
  type         str     name of the job; empty for any, as are the next three
  error        str     class of the error
  tenant       str
  text         str     that the reason holds
  since        int     ms, earliest time of the failure; empty for any
  until        int     ms, first time that is too late; empty for now, included
  newest       int     1: the newest first
  cursor_at    int     time and id of the last letter that an earlier call looked at; empty to begin
  cursor_id    str
  look         int     letters looked at in this call
  most         int     letters found in this call
RETURNS
  how many were found; for ids and records the letters, each an id and the time of its failure or the record as names and values;
  time and id of the last one looked at, or two empty texts when all were; the server's time, ms
]]
local jobs = unpack(KEYS)
local _, what, replayed, kind, class, tenant, text, since, before, newest, cursor_at, cursor_id, look, most = unpack(ARGV)
look, most = tonumber(look), tonumber(most)

--@include clock
--@include dead_letter_indexes

local now_text = string.format('%d', clock(ARGV[1]))
local low = since == '' and '-inf' or since
local high = before == '' and now_text or '(' .. before
local index = jobs .. 'corral:dead:replayed'
if replayed ~= '1' then
  -- The last of them is the one for all that is asked.
  local indexes = indexes_of(jobs, { type = kind, error = class, tenant = tenant })
  index = indexes[#indexes].key
end
local asked = {}
if text ~= '' then asked.failedReason = function(stored) return string.find(stored, text, 1, true) ~= nil end end
if replayed == '1' then
  for field, value in pairs({ name = kind, error = class, tenant = tenant }) do
    if value ~= '' then asked[field] = function(stored) return stored == value end end
  end
end
if what == 'count' and not next(asked) then
  return { redis.call('ZCOUNT', index, low, high), {}, '', '', now_text }
end

-- All by rank: a score is asked only of the last one, since its text costs more than all else of a walk.
local function ranks_before(time) return redis.call('ZCOUNT', index, '-inf', time) end
local first = since == '' and 0 or ranks_before('(' .. since)
local past = ranks_before(high)
if cursor_id ~= '' then
  local is_there = redis.call('ZSCORE', index, cursor_id) == cursor_at
  -- Without the letter itself the walk goes on at its time: some may be seen twice, none is left out.
  if newest == '1' then
    past = math.min(past, is_there and redis.call('ZRANK', index, cursor_id) or ranks_before(cursor_at))
  else
    first = math.max(first, is_there and redis.call('ZRANK', index, cursor_id) + 1 or ranks_before('(' .. cursor_at))
  end
end
local from, to = first, math.min(past, first + look) - 1
if newest == '1' then from, to = math.max(first, past - look), past - 1 end
local ids = to < from and {} or redis.call('ZRANGE', index, from, to)
if newest == '1' then
  for n = 1, math.floor(#ids / 2) do ids[n], ids[#ids + 1 - n] = ids[#ids + 1 - n], ids[n] end
end
local is_over = #ids >= past - first

local function fits(id)
  for field, is_right in pairs(asked) do
    -- pcall: what is no record has none of it.
    local stored = redis.pcall('HGET', record_of(jobs, id), field)
    if type(stored) ~= 'string' or not is_right(stored) then return false end
  end
  return true
end
local found, rows, last = 0, {}, 0
for n, id in ipairs(ids) do
  last = n
  if fits(id) then
    found = found + 1
    if what == 'ids' then
      rows[found] = { id, redis.call('ZSCORE', index, id) }
    elseif what == 'records' then
      local record = redis.pcall('HGETALL', record_of(jobs, id))
      rows[found] = { id, record.err and {} or record }
    end
    if found == most then break end
  end
end
if is_over and last == #ids then return { found, rows, '', '', now_text } end
return { found, rows, redis.call('ZSCORE', index, ids[last]), ids[last], now_text }
