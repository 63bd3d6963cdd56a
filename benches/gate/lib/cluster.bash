# One node on SQLite and memory beside one and three nodes on PostgreSQL and Redis: requests and durable creations per second, and whose
# processor time they take. Sourced by ../run.
# shellcheck shell=bash disable=SC2154,SC2034

postgres_pid=
redis_pid=
cluster_environment=()

as_postgres() { # COMMAND…: PostgreSQL refuses to run as root
  if ((EUID == 0)); then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}

# Durable, as a company would run it: every commit is on disk before it is answered.
start_cluster_servers() {
  local bin data=$folder/postgres
  bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort --version-sort | tail -n 1)
  chmod 0755 "$folder"
  mkdir -p "$data"
  ((EUID != 0)) || chown postgres "$data"
  as_postgres "$bin/initdb" --pgdata "$data" --auth trust --username kallglot --no-sync >/dev/null
  free_port
  local port=$last_port
  local prefix=()
  ((EUID != 0)) || prefix=(setpriv --reuid=postgres --regid=postgres --clear-groups)
  start postgres "0-$(($(nproc) - 1))" "${prefix[@]}" "$bin/postgres" -D "$data" -c port="$port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c max_connections=200 -c shared_buffers=512MB -c max_wal_size=4GB
  postgres_pid=$started_pid
  await_port "$port" "$postgres_pid"
  free_port
  start redis "0-$(($(nproc) - 1))" redis-server --port "$last_port" --bind 127.0.0.1 --save '' --appendonly no
  redis_pid=$started_pid
  await_port "$last_port" "$redis_pid"
  cluster_environment=("KALLGLOT_DATABASE_URL=postgres://kallglot@127.0.0.1:$port/postgres" "KALLGLOT_REDIS_URL=redis://127.0.0.1:$last_port"
    "KALLGLOT_SECRETS_DIR=$folder/secrets")
  local tries=0
  until env "${cluster_environment[@]}" "$kallglot" --config "$folder/kallglot.toml" migrate >/dev/null 2>&1; do
    ((tries++ < 100)) || die "the database can't be migrated"
    pause 0.1
  done
}

# Runs one wrk for each node at once and adds up what they say.
measure_nodes() { # SHAPE WHAT ROUND CONNECTIONS_IN_ALL PORT…
  local shape=$1 what=$2 round=$3 count=$4 port index=0 duration=$seconds script=report url=$path options=() pids=()
  shift 4
  ((round >= 0)) || duration=$warm_up_s
  if [[ $what == sessions ]]; then
    script=sessions url=/v1/sessions
  fi
  local before=() after=() who=("${node_pids[@]}")
  [[ $shape == alone ]] || who+=("$postgres_pid" "$redis_pid")
  local pid
  for pid in "${who[@]}"; do before+=("$(cpu_ms "$pid")"); done
  for port in "$@"; do
    GATE_WRK=$here/wrk GATE_RUN=$EPOCHREALTIME-$index wrk --threads 1 --connections $((count / $#)) --duration "${duration}s" --timeout 10s \
      --script "$here/wrk/$script.lua" --header "Authorization: Bearer $our_key" "http://127.0.0.1:$port$url" >"$folder/wrk-$index" &
    pids+=($!)
    index=$((index + 1))
  done
  wait "${pids[@]}"
  for pid in "${who[@]}"; do after+=("$(cpu_ms "$pid")"); done
  local nodes_ms=0 postgres_ms=0 redis_ms=0
  for ((index = 0; index < ${#who[@]}; index++)); do
    local spent=$((after[index] - before[index]))
    case ${who[index]} in
      "$postgres_pid") postgres_ms=$spent ;;
      "$redis_pid") redis_ms=$spent ;;
      *) nodes_ms=$((nodes_ms + spent)) ;;
    esac
  done
  for ((index = 0; index < $#; index++)); do tail -n 1 "$folder/wrk-$index"; done |
    jq --compact-output --slurp --arg shape "$shape" --arg what "$what" --argjson round "$round" --argjson nodes "$nodes_ms" \
      --argjson postgres "$postgres_ms" --argjson redis "$redis_ms" '
      { section: "cluster", name: $shape, what: $what, round: $round, requests: (map(.requests) | add), rate: (map(.rate) | add),
        p50_ms: (map(.p50_ms) | add / length), p99_ms: (map(.p99_ms) | max), max_ms: (map(.max_ms) | max),
        refused: (map(.refused) | add), broken: (map(.broken) | add), cpu_percent: 0, requests_per_cpu_s: 0 }
      | . + { nodes_us: ($nodes * 1000 / .requests), postgres_us: ($postgres * 1000 / .requests), redis_us: ($redis * 1000 / .requests) }' | record
  note "$shape, $what, round $((round + 1)) of $rounds: $(tail -n 1 "$folder/results.jsonl" | jq -r '"\(.rate | round)/s, p99 \(.p99_ms) ms"')"
}

declare -A shape_ports shape_pids shape_keys

start_shape() { # SHAPE NODES
  local shape=$1 count=$2 index ports=() pids=()
  server_environment=("KALLGLOT_WORKER_THREADS=$(nproc)")
  [[ $shape == alone ]] || server_environment+=("${cluster_environment[@]}")
  for ((index = 1; index <= count; index++)); do
    local data=$folder/$shape-$index
    ((index > 1)) || in_environment our_organization "$data"
    serve "$data" "$shape-$index" "0-$(($(nproc) - 1))"
    ports+=("$our_port")
    pids+=("$our_pid")
  done
  shape_ports[$shape]=${ports[*]}
  shape_pids[$shape]=${pids[*]}
  shape_keys[$shape]=$our_key
}

in_environment() { # FUNCTION…: with the servers' variables
  local assignment
  for assignment in "${server_environment[@]}"; do export "${assignment?}"; done
  "$@"
  for assignment in "${server_environment[@]}"; do unset "${assignment%%=*}"; done
}

section_cluster() {
  local count=${connections:-64} shape what round ports node_pids
  build
  write_settings
  start_cluster_servers
  start_shape alone 1
  start_shape one-node 1
  start_shape three-nodes 3
  # The three nodes share the database with the one node, which is idle meanwhile.
  for what in whoami sessions; do
    for ((round = -1; round < rounds; round++)); do
      for shape in alone one-node three-nodes; do
        read -r -a ports <<<"${shape_ports[$shape]}"
        read -r -a node_pids <<<"${shape_pids[$shape]}"
        our_key=${shape_keys[$shape]}
        measure_nodes "$shape" "$what" "$round" "$count" "${ports[@]}"
      done
    done
  done
  printf '\nOne node on SQLite and memory, one and three on PostgreSQL and Redis; %s connections in all, %s rounds of %s s, everything and wrk on the same %s cores.\n\n' \
    "$count" "$rounds" "$seconds" "$(nproc)"
  # shellcheck disable=SC2016
  results cluster '
    map(select(.round >= 0)) as $all
    | (["what", "shape", "requests/s", "min", "max", "of alone", "p50 ms", "p99 ms", "nodes µs CPU", "PostgreSQL µs", "Redis µs"],
       ["---", "---", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:"] | row),
      ("whoami", "sessions") as $what
      | (($all | map(select(.what == $what and .name == "alone")) | map(.rate) | median) as $alone
        | ("alone", "one-node", "three-nodes") as $shape
        | ($all | map(select(.what == $what and .name == $shape))) as $rounds
        | $rounds | summary
        | [$what, $shape, (.rate | digits(0)), (.rate_min | digits(0)), (.rate_max | digits(0)), (.rate / $alone | digits(2)),
           (.p50_ms | digits(2)), (.p99_ms | digits(2)), ($rounds | map(.nodes_us) | median | digits(1)),
           ($rounds | map(.postgres_us) | median | digits(1)), ($rounds | map(.redis_us) | median | digits(1))] | row)'
}
