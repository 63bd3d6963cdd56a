-- ARGV: now, for how long all are here (0: this is not the last part of them), then a session and its lease, again and again.
local now, all = now_of(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 3, #ARGV, 2 do hold(KEYS[1], now, ARGV[i], tonumber(ARGV[i + 1])) end
if all > 0 then hold(KEYS[1], now, ALL, all) end
return 0
