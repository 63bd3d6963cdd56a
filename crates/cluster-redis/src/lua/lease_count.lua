-- ARGV: now. -1: not all of the tenant's slots are here.
local now = now_of(ARGV[1])
local all = redis.call('ZSCORE', KEYS[1], ALL)
if not all or tonumber(all) <= now then return -1 end
return redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%.0f', now), '+inf') - 1
