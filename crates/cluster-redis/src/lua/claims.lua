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

