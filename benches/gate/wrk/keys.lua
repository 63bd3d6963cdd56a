-- Uses the keys of a file in turn, one per line. Argument: the file.

dofile(os.getenv("GATE_WRK") .. "/report.lua")

local requests, next = {}, 0

function init(arguments)
  for key in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", wrk.path, { Host = wrk.headers.Host, Authorization = "Bearer " .. key })
  end
end

function request()
  next = next % #requests + 1
  return requests[next]
end
