-- Dead letters. Each has a record, a hash, and stands on shelves, sorted sets by the time of the failure: on `open` and on one
-- for its type, its error and its tenant until it is replayed, then on `replayed`. `types`, `errors` and `tenants` count them.
local function record_of(jobs, id) return jobs .. 'corral:dead:letter:' .. id .. ':record' end
local function shelf_of(jobs, kind, value) return jobs .. 'corral:dead:' .. kind .. ':' .. value .. ':ids' end
