-- ARGV: now, length.
local now, length = now_of(ARGV[1]), tonumber(ARGV[2])
local answer = {0}
for i, key in ipairs(KEYS) do
  local used, ends = window(key, now, length)
  answer[2 * i] = used
  answer[2 * i + 1] = ends - now
end
return answer
