-- ARGV: now, lease, sessions. It never says that all are here: it knows of one node's only.
local now, lease = now_of(ARGV[1]), tonumber(ARGV[2])
lapse(KEYS[1], now)
for i = 3, #ARGV do redis.call('ZADD', KEYS[1], 'GT', now + lease, ARGV[i]) end
if redis.call('PTTL', KEYS[1]) < lease + SLACK_MS then redis.call('PEXPIRE', KEYS[1], lease + SLACK_MS) end
return 0
