-- One for each of KEYS. ARGV: now, length, how much longer each window runs according to who took.
-- The next window ends a whole length later at the earliest, so an end that differs by less than half of it is the same window's:
-- the way there and back and the caller's clock are in the difference.
local now, length = now_of(ARGV[1]), tonumber(ARGV[2])
local answer = {0}
for i, key in ipairs(KEYS) do
  local used, left = window(key, now, length)
  if used > 0 and math.abs(left - tonumber(ARGV[2 + i])) < length / 2 then
    used = used - 1
    redis.call('DECR', key)
  end
  answer[2 * i] = used
  answer[2 * i + 1] = left
end
return answer
