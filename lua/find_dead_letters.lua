--[[
find_dead_letters: find dead letters by page.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  what         str     count, ids or records
  replayed     int     1: replayed letters, 0: open ones
  type         str     name of the job; empty for any, as are the next three
  error        str     class of the error
  tenant       str
  text         str     that the reason holds
  since        int     ms, earliest time of the failure; empty for any
  until        int     ms, first time that is too late; empty: now, inclusive
  newest       int     1: the newest first
  cursor_at    int     time and id of the last letter that an earlier call read; empty to begin
  cursor_id    str
  scan         int     letters to read in this call
  most         int     letters to find in this call; with records it ends after 1 MiB of them
RETURNS
  how many were found; for ids and records the letters, each an id and the time of its failure or the record as names and values;
  time and id of the last letter read, or two empty texts after the last; the server's time, ms
]]
local jobs = unpack(KEYS)
local _, what, replayed, kind, class, tenant, text, since, before, newest, cursor_at, cursor_id, scan, most = unpack(ARGV)
scan, most = tonumber(scan), tonumber(most)

--@include clock
--@include dead_letter_indexes

local now_text = string.format('%d', clock(ARGV[1]))
local low = since == '' and '-inf' or since
local high = before == '' and now_text or '(' .. before
local index = jobs .. 'corral:dead:replayed'
if replayed ~= '1' then
  -- The last index is the one for all filters together.
  local indexes = indexes_of(jobs, { type = kind, error = class, tenant = tenant })
  index = indexes[#indexes].key
end
local filters = {}
if text ~= '' then filters.failedReason = function(value) return string.find(value, text, 1, true) ~= nil end end
if replayed == '1' then
  for field, value in pairs({ name = kind, error = class, tenant = tenant }) do
    if value ~= '' then filters[field] = function(stored) return stored == value end end
  end
end
if what == 'count' and not next(filters) then
  return { redis.call('ZCOUNT', index, low, high), {}, '', '', now_text }
end

-- The walk goes by rank. Only the last letter's score is read: formatting scores would cost more than the walk.
local function ranks_before(time) return redis.call('ZCOUNT', index, '-inf', time) end
local first = since == '' and 0 or ranks_before('(' .. since)
local past = ranks_before(high)
if cursor_id ~= '' then
  local is_there = redis.call('ZSCORE', index, cursor_id) == cursor_at
  -- If the cursor's letter was deleted the walk goes on at its time: letters may be found twice, but never missed.
  if newest == '1' then
    past = math.min(past, is_there and redis.call('ZRANK', index, cursor_id) or ranks_before(cursor_at))
  else
    first = math.max(first, is_there and redis.call('ZRANK', index, cursor_id) + 1 or ranks_before('(' .. cursor_at))
  end
end
local from, to = first, math.min(past, first + scan) - 1
if newest == '1' then from, to = math.max(first, past - scan), past - 1 end
local ids = to < from and {} or redis.call('ZRANGE', index, from, to)
if newest == '1' then
  for n = 1, math.floor(#ids / 2) do ids[n], ids[#ids + 1 - n] = ids[#ids + 1 - n], ids[n] end
end
local is_over = #ids >= past - first

local function fits(id)
  for field, is_right in pairs(filters) do
    -- pcall: a foreign key matches no filter.
    local stored = redis.pcall('HGET', record_of(jobs, id), field)
    if type(stored) ~= 'string' or not is_right(stored) then return false end
  end
  return true
end
-- A larger reply would block the server for too long: the walk goes on from the cursor.
local found, rows, last, bytes, most_bytes = 0, {}, 0, 0, 1048576
for n, id in ipairs(ids) do
  last = n
  if fits(id) then
    found = found + 1
    if what == 'ids' then
      rows[found] = { id, redis.call('ZSCORE', index, id) }
    elseif what == 'records' then
      local record = redis.pcall('HGETALL', record_of(jobs, id))
      rows[found] = { id, record.err and {} or record }
      for i = 2, #record, 2 do bytes = bytes + #record[i] end
    end
    if found == most or bytes > most_bytes then break end
  end
end
if is_over and last == #ids then return { found, rows, '', '', now_text } end
return { found, rows, redis.call('ZSCORE', index, ids[last]), ids[last], now_text }
