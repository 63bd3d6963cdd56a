-- A window is one whole number, so that counting is no more than an INCR: the last 30 bits of its end in milliseconds (12 days, and a
-- key lasts two minutes), and 23 bits for how many were used: 140 000 a second for a minute. What is beyond is refused.
local UNIT, TURN = 8388608, 1073741824

-- How many were used, and how much longer the window runs. One that would run for longer than a window does was written by a server
-- whose clock was ahead: it is over too.
local function window(key, now, length)
  local kept = tonumber(redis.call('GET', key) or 0)
  local left = (math.floor(kept / UNIT) - now) % TURN
  if left > 0 and left <= length then return kept % UNIT, left end
  return 0, length
end

local function count(key, used, left, now)
  if used > 0 then return redis.call('INCR', key) end
  redis.call('SET', key, (now + left) % TURN * UNIT + 1, 'PX', left + SLACK_MS)
end

