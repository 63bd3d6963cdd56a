-- ARGV: now, session, limit, lease. -1: not all of the tenant's slots are here.
local now, session, limit, lease = now_of(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not lapse(KEYS[1], now) then return {-1, 0} end
local in_use = redis.call('ZCARD', KEYS[1]) - 1
if not redis.call('ZSCORE', KEYS[1], session) then
  if in_use >= limit then return {0, in_use} end
  in_use = in_use + 1
end
hold(KEYS[1], now, session, lease)
return {1, in_use}
