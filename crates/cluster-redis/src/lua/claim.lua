-- ARGV: now, for how long, the claim. Answers with the claim that is in the way, if there is one.
local now, lease = now_of(ARGV[1]), tonumber(ARGV[2])
local held = kept(KEYS[1], now)
if held then return held end
keep(KEYS[1], ARGV[3], now + lease, now)
return false
