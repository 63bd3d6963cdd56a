# Durable session creations, each with an idempotency key of its own; beside them what disk and SQLite do alone. Sourced by ../run.
# shellcheck shell=bash disable=SC2154,SC2034

session_body='{"mode":"bidirectional_translation","source_language":"en","target_language":"es"}'

create_session() { # IDEMPOTENCY_KEY STATUS HEADERS_EXPECTED
  check "$2" "$3" --header "Authorization: Bearer $our_key" --header 'Content-Type: application/json' \
    --header "Idempotency-Key: $1" --data "$session_body" "http://127.0.0.1:$our_port/v1/sessions"
}

# One request makes one session, and the same again makes none: else it would not be what is to be measured.
check_sessions() {
  local id credits
  create_session check-1 201 "$path_headers"
  id=$(jq --raw-output .id "$folder/body")
  credits=$(header_value X-API-Credits-Remaining)
  create_session check-1 201 "${path_headers:+Idempotent-Replayed}"
  if [[ -n $path_headers ]]; then
    [[ $(jq --raw-output .id "$folder/body") == "$id" ]] || die "a replay made another session"
    create_session check-2 201 ''
    (($(header_value X-API-Credits-Remaining) == credits - 1)) || die "a session did not cost one credit"
  fi
}

# What was answered is in the database, and nothing else but what was under way when wrk stopped.
check_stored() { # DATA_FOLDER ANSWERED UNDER_WAY_MAX
  local stored spent
  stored=$(sqlite3 "$1/kallglot.db" 'SELECT count(*) FROM sessions')
  ((stored >= $2 && stored <= $2 + $3)) || die "$2 sessions were answered, $stored are stored"
  [[ -n $path_headers ]] || return 0
  spent=$((1000000000 - $(our_command "$1" org show "$our_organization_id" | jq .credits)))
  ((spent == stored)) || die "$stored sessions are stored, $spent credits are spent"
  note "$2 answered, $stored stored, $spent credits spent"
}

measure_sessions() { # NAME CORES CONNECTIONS
  local name=$1 cores=$2 count=$3 data=$folder/sessions-$1-$3 round answered=0 added
  our_organization "$data"
  serve "$data" "sessions-$name-$count" "$cores"
  check_sessions
  for ((round = -1; round < rounds; round++)); do
    added="{\"section\":\"sessions\",\"name\":\"$name\",\"connections\":$count,\"round\":$round,\"memory_kb\":$(memory_kb "$our_pid")}"
    # Round -1 warms up and is left out of the table.
    wrk_run "$( ((round < 0)) && echo "$warm_up_s" || echo "$seconds")" "$count" sessions "$our_pid" "http://127.0.0.1:$our_port/v1/sessions" "$added" \
      --header "Authorization: Bearer $our_key" | record
    answered=$((answered + $(tail -n 1 "$folder/results.jsonl" | jq .requests)))
    note "$name, $count connections, round $((round + 1)) of $rounds: $(tail -n 1 "$folder/results.jsonl" | jq .rate)/s"
  done
  stop "$our_pid"
  check_stored "$data" "$answered" $((count * (rounds + 1) + 3))
  rm -rf "$data"
}

section_sessions() {
  local counts count environment=("${server_environment[@]}") line
  IFS=, read -r -a counts <<<"${connections:-32,128,256}"
  build
  write_settings
  mkdir -p "$folder/disk"
  taskset --cpu-list "$server_cores" "$bench" disk --folder "$folder/disk" | while read -r line; do
    jq --compact-output '. + {section: "disk", refused: 0, broken: 0}' <<<"$line" | record
  done
  for count in "${counts[@]}"; do
    measure_sessions one-core "$server_cores" "$count"
    # Both cores, which the server shares with wrk; as many worker threads as it takes by itself.
    server_environment=()
    measure_sessions all-cores "0-$(($(nproc) - 1))" "$count"
    server_environment=("${environment[@]}")
  done
  printf '\nWhat the disk and SQLite do alone, by one thread on one core.\n\n'
  # shellcheck disable=SC2016
  results disk '(["what", "commits/s", "rows/s"], ["---", "---:", "---:"] | row), (.[] | [.name, (.commits_per_s | digits(0)), (.rows_per_s | digits(0))] | row)'
  printf '\nDurable POST /v1/sessions, each with an idempotency key, %s rounds of %s s.\n\n' "$rounds" "$seconds"
  # shellcheck disable=SC2016
  results sessions '
    map(select(.round >= 0))
    | (["server on", "connections", "sessions/s", "min", "max", "p50 ms", "p99 ms", "p99 worst", "server CPU %", "memory MB"], ["---", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:"] | row),
      (group_by([.connections, .name])[] | . as $rounds | summary
        | [$rounds[0].name, $rounds[0].connections, (.rate | digits(0)), (.rate_min | digits(0)), (.rate_max | digits(0)), (.p50_ms | digits(2)), (.p99_ms | digits(2)),
           (.p99_max_ms | digits(2)), (.cpu_percent | digits(0)), ($rounds | map(.memory_kb) | max / 1024 | digits(0))] | row)'
}
