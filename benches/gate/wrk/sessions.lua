-- Creates sessions, each with an idempotency key of its own: GATE_RUN, which differs in each run, and a number.

dofile(os.getenv("GATE_WRK") .. "/report.lua")

local before, after, count = "", "", 0

function init()
  local body = '{"mode":"bidirectional_translation","source_language":"en","target_language":"es"}'
  local headers = { ["Content-Type"] = "application/json", ["Idempotency-Key"] = os.getenv("GATE_RUN") .. "-@@@" }
  for name, value in pairs(wrk.headers) do
    headers[name] = value
  end
  -- Formatted once: only the number in it changes.
  local text = wrk.format("POST", wrk.path, headers, body)
  local from, to = text:find("@@@", 1, true)
  before, after = text:sub(1, from - 1), text:sub(to + 1)
end

function request()
  count = count + 1
  return before .. count .. after
end
