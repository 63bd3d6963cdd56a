-- ARGV: now, length.
local now, length = now_of(ARGV[1]), tonumber(ARGV[2])
local used, ends = window(KEYS[1], now, length)
keep(KEYS[1], used + 1, ends, now)
return {0, used + 1, ends - now}
