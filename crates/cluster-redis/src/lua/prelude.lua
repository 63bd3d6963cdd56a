-- In front of every script. A value says itself when it is over; its key's expiry comes later and only frees memory.
local SLACK_MS = 60000

-- Milliseconds since 1970: this server's, so that the nodes' clocks may differ; the caller's if it gives one (tests move that clock).
local function now_of(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function keep(key, value, ends, now)
  redis.call('SET', key, string.format('%.0f ', ends) .. value, 'PX', math.max(ends - now, 0) + SLACK_MS)
end

-- What is kept under a key and until when, if that is not over.
local function kept(key, now)
  local whole = redis.call('GET', key)
  if not whole then return nil end
  local space = string.find(whole, ' ', 1, true)
  local ends = tonumber(string.sub(whole, 1, space - 1))
  if ends <= now then return nil end
  return string.sub(whole, space + 1), ends
end

-- How a window stands. One that ends later than a window lasts was written by a server whose clock was ahead: it is over too.
local function window(key, now, length)
  local used, ends = kept(key, now)
  if used and ends <= now + length then return tonumber(used), ends end
  return 0, now + length
end

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
