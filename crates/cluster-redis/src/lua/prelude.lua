-- In front of every script. A value says itself when it is over; its key's expiry comes later and only frees memory.
local SLACK_MS = 60000

-- Milliseconds since 1970: this server's, so that the nodes' clocks may differ; the caller's if it gives one (tests move that clock).
local function now_of(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

