# One authenticated read, side by side with the peers, in rounds whose order rotates. Sourced by ../run.
# shellcheck shell=bash disable=SC2154,SC2034

declare -A url=() header=() pid=() headers_expected=() counter=()
body='{"organization":"org_0000000000000000000000","padding":"'
server_names=()

# Copies a peer's settings with what is known now filled in.
fill() { # SOURCE TARGET PORT
  sed -e "s|@FOLDER@|$4|g" -e "s|@PORT@|$3|g" -e "s|@BODY@|$body|g" -e "s|@KEY@|$peer_key|g" -e "s|@PEERS@|$here/peers/nginx|g" "$1" >"$2"
}

start_kallglot() {
  write_settings
  our_organization "$folder/data"
  serve "$folder/data" kallglot "$server_cores"
  url[kallglot]=http://127.0.0.1:$our_port$path
  header[kallglot]="Authorization: Bearer $our_key"
  pid[kallglot]=$our_pid
  headers_expected[kallglot]=$path_headers
  counter[kallglot]=${path_headers:+X-RateLimit-Remaining}
  check 200 '' --header "${header[kallglot]}" "${url[kallglot]}"
  # The peers answer with as many bytes.
  pad_body "$(stat --format %s "$folder/body")"
}

pad_body() { # BYTES
  body='{"organization":"org_0000000000000000000000","padding":"'
  while ((${#body} < $1 - 2)); do
    body+=x
  done
  body+='"}'
}

start_nginx() { # NAME
  mkdir -p "$folder/$1"
  free_port
  fill "$here/peers/nginx/$1.conf" "$folder/$1/nginx.conf" "$last_port" "$folder/$1"
  start "$1" "$server_cores" nginx -e "$folder/$1/error.log" -c "$folder/$1/nginx.conf"
  await_port "$last_port" "$started_pid"
}

lua_names=(nginx-lua nginx-lua-all-headers)
start_nginx_lua() {
  start_nginx lua
  local name
  for name in "${lua_names[@]}"; do
    header[$name]="Authorization: Bearer $peer_key"
    pid[$name]=$started_pid
    headers_expected[$name]=X-RateLimit-Remaining
    counter[$name]=X-RateLimit-Remaining
  done
  url[nginx-lua]=http://127.0.0.1:$last_port/gate
  url[nginx-lua-all-headers]=http://127.0.0.1:$last_port/gate-with-all-headers
  headers_expected[nginx-lua-all-headers]='X-Request-ID X-RateLimit-Limit X-RateLimit-Remaining X-RateLimit-Reset X-API-Credits-Remaining RateLimit'
}

start_nginx_static() {
  start_nginx static
  url[nginx-static]=http://127.0.0.1:$last_port/
  header[nginx-static]='Accept: */*'
  pid[nginx-static]=$started_pid
  headers_expected[nginx-static]=Content-Length
}

start_floor() { # LIBRARY
  local name=$1-floor
  free_port
  start "$name" "$server_cores" "$bench" floor "$1" --listen "127.0.0.1:$last_port" --body-bytes "${#body}" --key "$folder/$name.key"
  await_port "$last_port" "$started_pid"
  url[$name]=http://127.0.0.1:$last_port/
  header[$name]="Authorization: Bearer $(<"$folder/$name.key")"
  pid[$name]=$started_pid
  headers_expected[$name]='X-Request-ID X-RateLimit-Limit X-RateLimit-Remaining X-API-Credits-Remaining'
  counter[$name]=X-RateLimit-Remaining
}

start_better_auth() {
  local packages=${TMPDIR:-/tmp}/kallglot-bench-gate-npm
  mkdir -p "$packages" "$folder/better-auth"
  if ! cmp --quiet "$here/peers/better-auth/package.json" "$packages/package.json" || [[ ! -d $packages/node_modules ]]; then
    note "installing better-auth into $packages"
    rm -rf "$packages/node_modules" "$packages/package-lock.json"
    # Copied last: what was cut off is done again.
    cp "$here/peers/better-auth/package.json" "$packages/package.json.new"
    (cd "$packages" && cp package.json.new package.json && npm install --no-audit --no-fund --loglevel error >&2) || {
      rm -f "$packages/package.json"
      die "npm could not install better-auth"
    }
  fi
  cp "$here/peers/better-auth/server.mjs" "$packages/"
  free_port
  NODE_ENV=production start better-auth "$server_cores" node "$packages/server.mjs" "$last_port" "$folder/better-auth" "${#body}"
  await_port "$last_port" "$started_pid"
  url[better-auth]=http://127.0.0.1:$last_port/
  header[better-auth]="x-api-key: $(<"$folder/better-auth/key")"
  pid[better-auth]=$started_pid
  headers_expected[better-auth]=X-RateLimit-Remaining
  counter[better-auth]=X-RateLimit-Remaining
}

# The right answer to the right key, a refusal of another one, and a counter that counts: else it would not be a gate.
check_server() { # NAME
  local name=$1 first second
  check 200 "${headers_expected[$name]}" --header "${header[$name]}" "${url[$name]}"
  [[ $name != nginx-static ]] || return 0
  # The last character changed: a key that nobody has.
  check 401 '' --header "${header[$name]%?}-" "${url[$name]}"
  [[ -n ${counter[$name]} ]] || return 0
  check 200 '' --header "${header[$name]}" "${url[$name]}"
  first=$(header_value "${counter[$name]}")
  check 200 '' --header "${header[$name]}" "${url[$name]}"
  second=$(header_value "${counter[$name]}")
  ((second == first - 1)) || die "$name counts from '$first' to '$second'"
}

wanted() { # NAME
  [[ ,$only, == *,all,* || ,$only, == *,$1,* ]]
}

section_whoami() {
  local connections=${connections:-32}
  local name round index
  peer_key=sk_live_$(head --bytes 18 /dev/urandom | od --address-radix n --format x1 | tr -d ' \n')
  pad_body 300
  if wanted kallglot || wanted axum-floor || wanted hyper-floor; then
    build
  fi
  if wanted kallglot; then
    start_kallglot
    server_names+=(kallglot)
  fi
  for name in "${lua_names[@]}"; do
    if wanted "$name"; then
      [[ -n ${url[nginx-lua]:-} ]] || start_nginx_lua
      server_names+=("$name")
    fi
  done
  if wanted nginx-static; then
    start_nginx_static
    server_names+=(nginx-static)
  fi
  for name in axum hyper; do
    if wanted "$name-floor"; then
      start_floor "$name"
      server_names+=("$name-floor")
    fi
  done
  if wanted better-auth; then
    start_better_auth
    server_names+=(better-auth)
  fi
  ((${#server_names[@]})) || die "--only names no server"

  for name in "${server_names[@]}"; do
    check_server "$name"
    wrk_run "$warm_up_s" "$connections" report "${pid[$name]}" "${url[$name]}" '{}' --header "${header[$name]}" >/dev/null
  done
  for ((round = 0; round < rounds; round++)); do
    for ((index = 0; index < ${#server_names[@]}; index++)); do
      name=${server_names[(index + round) % ${#server_names[@]}]}
      wrk_run "$seconds" "$connections" report "${pid[$name]}" "${url[$name]}" \
        "{\"section\":\"whoami\",\"name\":\"$name\",\"round\":$round,\"memory_kb\":$(memory_kb "${pid[$name]}")}" --header "${header[$name]}" | record
      note "round $((round + 1)) of $rounds: $name $(tail -n 1 "$folder/results.jsonl" | jq .rate)/s"
    done
  done
  for name in "${server_names[@]}"; do
    check_server "$name"
  done
  table_whoami
  stop_all
}

table_whoami() {
  printf '\nOne authenticated read (%s), answers of %s bytes, %s connections, %s rounds of %s s in rotating order.\n' \
    "$path" "${#body}" "$connections" "$rounds" "$seconds"
  printf 'Median over the rounds, beside it the slowest and the fastest; ours / theirs is the median of the rounds'\'' own ratios.\n\n'
  # shellcheck disable=SC2016
  results whoami '
    . as $all
    | (["server", "requests/s", "min", "max", "ours / theirs", "p50 ms", "p99 ms", "p99 worst", "server CPU %", "requests / CPU s"], ["---", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:"] | row),
      ([$all[].name] | reduce .[] as $n ([]; if index($n) then . else . + [$n] end) | .[] as $name
        | ($all | named($name)) as $rounds | ($rounds | summary) as $s
        | ([$rounds[] | . as $r | $all[] | select(.name == "kallglot" and .round == $r.round) | .rate / $r.rate] | median) as $ratio
        | [$name, ($s.rate | digits(0)), ($s.rate_min | digits(0)), ($s.rate_max | digits(0)), ($ratio | digits(2)),
           ($s.p50_ms | digits(2)), ($s.p99_ms | digits(2)), ($s.p99_max_ms | digits(2)), ($s.cpu_percent | digits(0)), ($s.requests_per_cpu_s | digits(0))] | row)'
}
