--[[
letters: find dead letters, a slice at a time.

MOVES    none
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
--@include shelves

local moment = string.format('%d', clock(ARGV[1]))
local low = since == '' and '-inf' or since
local high = before == '' and moment or '(' .. before
-- The smallest shelf is walked, the others are asked.
local shelf, others = jobs .. 'corral:dead:' .. (replayed == '1' and 'replayed' or 'open'), {}
if replayed ~= '1' then
  local named = {}
  for name, value in pairs({ type = kind, error = class, tenant = tenant }) do
    if value ~= '' then named[#named + 1] = shelf_of(jobs, name, value) end
  end
  local sizes = {}
  for _, key in ipairs(named) do sizes[key] = redis.call('ZCARD', key) end
  table.sort(named, function(a, b) return sizes[a] < sizes[b] end)
  if #named > 0 then shelf = table.remove(named, 1) end
  others = named
end
local by_record = text ~= '' or (replayed == '1' and kind .. class .. tenant ~= '')
if what == 'count' and #others == 0 and not by_record then
  return { redis.call('ZCOUNT', shelf, low, high), {}, '', '', moment }
end

-- All by rank: a score is asked only of the last one, since its text costs more than all else of a walk.
local function ranks_before(time) return redis.call('ZCOUNT', shelf, '-inf', time) end
local first = since == '' and 0 or ranks_before('(' .. since)
local past = ranks_before(high)
if cursor_id ~= '' then
  local is_there = redis.call('ZSCORE', shelf, cursor_id) == cursor_at
  -- Without the letter itself the walk goes on at its time: some may be seen twice, none is left out.
  if newest == '1' then
    past = math.min(past, is_there and redis.call('ZRANK', shelf, cursor_id) or ranks_before(cursor_at))
  else
    first = math.max(first, is_there and redis.call('ZRANK', shelf, cursor_id) + 1 or ranks_before('(' .. cursor_at))
  end
end
local from, to = first, math.min(past, first + look) - 1
if newest == '1' then from, to = math.max(first, past - look), past - 1 end
local ids = to < from and {} or redis.call('ZRANGE', shelf, from, to)
if newest == '1' then
  for n = 1, math.floor(#ids / 2) do ids[n], ids[#ids + 1 - n] = ids[#ids + 1 - n], ids[n] end
end
local is_over = #ids >= past - first

local asked = {}
for n, key in ipairs(others) do asked[n] = #ids > 0 and redis.call('ZMSCORE', key, unpack(ids)) or {} end
local function fits(n)
  for _, scores in ipairs(asked) do
    if not scores[n] then return false end
  end
  if not by_record then return true end
  local said = redis.pcall('HMGET', record_of(jobs, ids[n]), 'failedReason', 'name', 'error', 'tenant')
  return not said.err and (text == '' or string.find(said[1] or '', text, 1, true) ~= nil) and (kind == '' or said[2] == kind)
    and (class == '' or said[3] == class) and (tenant == '' or said[4] == tenant)
end
local found, rows, last = 0, {}, 0
for n, id in ipairs(ids) do
  last = n
  if fits(n) then
    found = found + 1
    if what == 'ids' then
      rows[found] = { id, redis.call('ZSCORE', shelf, id) }
    elseif what == 'records' then
      local record = redis.pcall('HGETALL', record_of(jobs, id))
      rows[found] = { id, record.err and {} or record }
    end
    if found == most then break end
  end
end
if is_over and last == #ids then return { found, rows, '', '', moment } end
return { found, rows, redis.call('ZSCORE', shelf, ids[last]), ids[last], moment }
