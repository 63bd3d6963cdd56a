-- ARGV: the news, for how long their number is kept. The number and the news are one step, so they are heard in the order of their numbers.
local number = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[1], string.format('%.0f ', number) .. ARGV[1])
return number
