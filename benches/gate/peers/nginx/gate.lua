-- The gate as one writes it with OpenResty: resty.sha256's way of hashing, keys and counters in shared dictionaries (so that every worker
-- sees a new or a revoked key at once), the check in the access phase, the answer in the content phase. Modules are loaded once.
-- One phase, one call of OpenSSL's `SHA256` and keys in a Lua table were tried too: no faster beyond the noise.

local ffi = require "ffi"
local ngx = ngx
local exit, print, time = ngx.exit, ngx.print, ngx.time
local keys, counters = ngx.shared.keys, ngx.shared.counters

-- What resty.sha256 does, without the package, which Debian does not have: OpenSSL's three calls on a context of 112 bytes.
ffi.cdef [[
typedef struct { unsigned int words[28]; } sha256_context;
int SHA256_Init(sha256_context *context);
int SHA256_Update(sha256_context *context, const void *bytes, size_t length);
int SHA256_Final(unsigned char *digest, sha256_context *context);
]]
local C, to_string = ffi.C, ffi.string
local context_type, digest = ffi.typeof("sha256_context"), ffi.new("unsigned char[32]")

local WINDOW_S = 60
local LIMIT = 1000000000
local gate = {}
local answer_body

local function hash(key)
  local context = context_type()
  C.SHA256_Init(context)
  C.SHA256_Update(context, key, #key)
  C.SHA256_Final(digest, context)
  return to_string(digest, 32)
end

function gate.load(key, body)
  keys:set(hash(key), "org_1")
  answer_body = body
end

local function refuse(status)
  ngx.status = status
  ngx.header["WWW-Authenticate"] = "Bearer"
  print('{"error":{"type":"authentication_error"}}')
  return exit(status)
end

-- Lets the request in, and says how many more may come in this window; or answers it.
local function enter()
  local credential = ngx.var.http_authorization
  local key = credential and credential:match("^Bearer (.+)$")
  local organization = key and keys:get(hash(key))
  if not organization then
    return refuse(401)
  end
  local count = counters:incr(organization, 1, 0, WINDOW_S)
  if not count or count > LIMIT then
    return refuse(429)
  end
  return LIMIT - count
end

function gate.check()
  ngx.header["X-RateLimit-Remaining"] = enter()
end

-- The same with every header that Kallglot sends, to show what headers cost.
function gate.check_with_all_headers()
  local remaining, now = enter(), time()
  local reset = now - now % WINDOW_S + WINDOW_S
  local header = ngx.header
  header["X-Request-ID"] = ngx.var.request_id
  header["X-RateLimit-Limit"] = LIMIT
  header["X-RateLimit-Remaining"] = remaining
  header["X-RateLimit-Reset"] = reset
  header["X-API-Credits-Remaining"] = LIMIT
  header["X-API-Credits-Used"] = 0
  header["RateLimit-Policy"] = '"default";q=' .. LIMIT .. ";w=" .. WINDOW_S
  header["RateLimit"] = '"default";r=' .. remaining .. ";t=" .. reset - now
  header["Kallglot-Edition"] = "2"
end

function gate.answer()
  ngx.header["Content-Length"] = #answer_body
  print(answer_body)
end

return gate
