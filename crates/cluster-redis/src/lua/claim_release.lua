-- ARGV: how one's own claim begins.
local held = kept(KEYS[1], 0)
if held and string.sub(held, 1, #ARGV[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
