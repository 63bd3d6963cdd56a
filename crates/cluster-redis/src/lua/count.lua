-- ARGV: now, length.
local now, length = now_of(ARGV[1]), tonumber(ARGV[2])
local used, left = window(KEYS[1], now, length)
if used < UNIT - 1 then
  count(KEYS[1], used, left, now)
  used = used + 1
end
return {0, used, left}
