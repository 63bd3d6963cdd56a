-- A tenant's slots are a sorted set of sessions by their ends, and among them this: that all are there. It is in the same key, so
-- that slots can't be lost without it. It is over when nobody has taken or renewed a slot for this long, which is less than a lease
-- after a renewal: by then slots of running sessions may have lapsed because their nodes could not reach this server.
local ALL, ALL_MS = '*', 20000

local function hold(key, now, session, lease)
  redis.call('ZADD', key, 'GT', now + lease, session)
  if redis.call('PTTL', key) < lease + SLACK_MS then redis.call('PEXPIRE', key, lease + SLACK_MS) end
end

-- Removes what is over; says whether all are there, and that they will be for a while yet.
local function lapse(key, now)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('ZADD', key, 'XX', 'GT', now + ALL_MS, ALL)
  return redis.call('ZSCORE', key, ALL)
end

