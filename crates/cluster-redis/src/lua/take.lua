-- One for each of KEYS, or nothing at all. ARGV: now, length, limit of each.
local now, length = now_of(ARGV[1]), tonumber(ARGV[2])
local used, ends, room = {}, {}, 1
for i, key in ipairs(KEYS) do
  used[i], ends[i] = window(key, now, length)
  if used[i] >= tonumber(ARGV[2 + i]) then room = 0 end
end
local answer = {room}
for i, key in ipairs(KEYS) do
  if room == 1 then
    used[i] = used[i] + 1
    keep(key, used[i], ends[i], now)
  end
  answer[2 * i] = used[i]
  answer[2 * i + 1] = ends[i] - now
end
return answer
