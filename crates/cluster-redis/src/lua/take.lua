-- One for each of KEYS, or nothing at all. ARGV: now, length, limit of each.
local now, length = now_of(ARGV[1]), tonumber(ARGV[2])
local used, left, room = {}, {}, 1
for i, key in ipairs(KEYS) do
  used[i], left[i] = window(key, now, length)
  if used[i] >= math.min(tonumber(ARGV[2 + i]), UNIT - 1) then room = 0 end
end
local answer = {room}
for i, key in ipairs(KEYS) do
  if room == 1 then count(key, used[i], left[i], now) end
  answer[2 * i] = used[i] + room
  answer[2 * i + 1] = left[i]
end
return answer
