-- ARGV: now, whether all are here then (this is the last part of them), then a session and its lease, again and again.
local now = now_of(ARGV[1])
lapse(KEYS[1], now)
for i = 3, #ARGV, 2 do hold(KEYS[1], now, ARGV[i], tonumber(ARGV[i + 1])) end
if ARGV[2] == '1' then hold(KEYS[1], now, ALL, ALL_MS) end
return 0
