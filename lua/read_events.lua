--[[
read_events: return events after an entry of the stream, and what shows whether entries in between were trimmed.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  events       stream
ARGV
  now          int     ms, or empty for the server's time
  after        str     id of the last entry that was read
  count        int     entries to return at most
RETURNS
  the entries; 1 if the last entry that was read still exists, else 0; the oldest id in the stream; the newest id ever added; how many
  were ever added; how many are in the stream
]]
local events = unpack(KEYS)
local _, after, count = unpack(ARGV)

if redis.call('EXISTS', events) == 0 then return { {}, 0, '0-0', '0-0', 0, 0 } end
local stored, info = {}, redis.call('XINFO', 'STREAM', events)
for i = 1, #info, 2 do stored[info[i]] = info[i + 1] end
local entries = tonumber(count) > 0 and redis.call('XRANGE', events, '(' .. after, '+', 'COUNT', count) or {}
local there = #redis.call('XRANGE', events, after, after)
local oldest = stored['first-entry'] and stored['first-entry'][1] or '0-0'
return { entries, there, oldest, stored['last-generated-id'], stored['entries-added'], stored['length'] }
