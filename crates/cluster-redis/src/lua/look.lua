-- ARGV: now, length.
local now, length = now_of(ARGV[1]), tonumber(ARGV[2])
local answer = {0}
for i, key in ipairs(KEYS) do
  answer[2 * i], answer[2 * i + 1] = window(key, now, length)
end
return answer
