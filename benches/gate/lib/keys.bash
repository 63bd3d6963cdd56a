# A million keys, a tenth of them in use, and a flood of unknown ones. Sourced by ../run.
# shellcheck shell=bash disable=SC2154,SC2034

read_keys() { # NAME ROUND SECONDS SCRIPT URL ADDED_JSON [-- arguments]: one round of valid keys
  local name=$1 round=$2 time=$3 script=$4
  shift 4
  wrk_run "$time" "$connections" "$script" "$our_pid" "$1" "{\"section\":\"keys\",\"name\":\"$name\",\"round\":$round}" "${@:2}" | keep
  note "$name, round $((round + 1)): $(tail -n 1 "$folder/results.jsonl" | jq '"\(.rate)/s, p99 \(.p99_ms) ms"')"
}

# Refused valid keys are not an error of the measurement here but a result: shown in the table.
# A round of valid keys with a flood beside it. No address comes twice, and none has more failed attempts than a server looks up.
flooded() { # NAME ROUND ADDRESSES
  local flood
  taskset --cpu-list "$load_cores" "$bench" flood --address "127.0.0.1:$our_port" --path "$path" --rate "$flood_per_s" \
    --seconds $((seconds + 1)) --addresses "$3" --first-address $(($2 * $3)) --seed $((1000000 + 1000 * $2 + $3)) >"$folder/flood.json" &
  flood=$!
  # shellcheck disable=SC2004 # An associative array.
  running[$flood]=flood
  pause 0.5
  read_keys "$1" "$2" "$seconds" keys "$url" -- "$folder/secrets"
  wait "$flood" || die "the flood failed"
  unset "running[$flood]"
  jq --compact-output --arg name "$1" '. + {section: "flood", name: $name, refused: (.statuses["200"] // 0)}' "$folder/flood.json" | record
}

memory_now() { # WHAT
  printf '%s\t%s\n' "$(memory_kb "$our_pid")" "$1" >>"$folder/memory"
}

section_keys() {
  local connections=${connections:-32} data=$folder/keys url key round empty_start_ms empty_kb size
  build
  write_settings
  our_organization "$data"
  key=$our_key
  : >"$folder/memory"

  serve "$data" empty "$server_cores"
  empty_start_ms=$our_start_ms
  memory_now 'started, 1 key in the database'
  stop "$our_pid"

  note "making $keys keys"
  "$bench" keys --database "$data/kallglot.db" --pepper "$data/secrets/pepper" --organization "$our_organization_id" \
    --key "$(our_command "$data" key list --org "$our_organization_id" | jq --raw-output '.data[0].id')" \
    --number "$keys" --organizations "$organizations" --active "$active" --secrets "$folder/secrets" >"$folder/made.json"
  serve "$data" keys "$server_cores"
  memory_now "started, $keys keys in the database"
  url=http://127.0.0.1:$our_port$path
  check 200 "$path_headers" --header "Authorization: Bearer $(head -n 1 "$folder/secrets")" "$url"
  check 200 "$path_headers" --header "Authorization: Bearer $(tail -n 1 "$folder/secrets")" "$url"

  read_keys one-key -1 "$warm_up_s" report "$url" --header "Authorization: Bearer $key"
  memory_now 'after one key in use'
  # Every key for the first time: each is looked up in the database.
  read_keys first-use 0 "$seconds" keys "$url" -- "$folder/secrets"
  memory_now "after $seconds s of $active keys in use"
  for ((round = 0; round < rounds; round++)); do
    read_keys one-key "$round" "$seconds" report "$url" --header "Authorization: Bearer $key"
    read_keys many-keys "$round" "$seconds" keys "$url" -- "$folder/secrets"
    memory_now "after round $((round + 1)) of $active keys in use"
    flooded flood-from-many-addresses "$round" $((flood_per_s * (seconds + 1) / 50 + 1))
    memory_now "after round $((round + 1)) with a flood from many addresses"
    flooded flood-from-one-address "$round" 0
    memory_now "after round $((round + 1)) with a flood from one address"
  done
  stop "$our_pid"

  size=$(du --total --block-size 1M "$data"/kallglot.db* | tail -n 1 | cut -f 1)
  printf '\nA database of %s keys of %s organizations (%s MB), %s of the keys in use in random order, %s connections, %s rounds of %s s; floods of %s unknown keys a second.\n\n' \
    "$keys" "$organizations" "$size" "$active" "$connections" "$rounds" "$seconds" "$flood_per_s"
  printf 'From start to readiness: %s ms with 1 key, %s ms with %s keys.\n\n' "$empty_start_ms" "$our_start_ms" "$keys"
  # shellcheck disable=SC2016
  results keys '
    map(select(.round >= 0)) as $all
    | (["load", "requests/s", "min", "max", "to many-keys", "p50 ms", "p99 ms", "p99 worst", "refused", "server CPU %", "requests / CPU s"], ["---", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:"] | row),
      ("one-key", "first-use", "many-keys", "flood-from-many-addresses", "flood-from-one-address" | . as $name
        | ($all | named($name)) as $rounds | ($rounds | summary) as $s
        | ([$rounds[] | . as $r | $all[] | select(.name == "many-keys" and .round == $r.round) | $r.rate / .rate] | median) as $ratio
        | [$name, ($s.rate | digits(0)), ($s.rate_min | digits(0)), ($s.rate_max | digits(0)), ($ratio | digits(3)), ($s.p50_ms | digits(2)), ($s.p99_ms | digits(2)), ($s.p99_max_ms | digits(2)), $s.refused, ($s.cpu_percent | digits(0)), ($s.requests_per_cpu_s | digits(0))] | row)'
  printf '\nWhat the floods were answered:\n\n'
  # shellcheck disable=SC2016
  results flood '(["flood", "sent/s", "left out", "statuses", "broken", "p50 ms", "p99 ms"], ["---", "---:", "---:", "---", "---:", "---:", "---:"] | row),
    (.[] | [.name, (.rate | digits(0)), .left_out, (.statuses | to_entries | map("\(.key): \(.value)") | join(", ")), .broken, (.p50_ms | digits(2)), (.p99_ms | digits(2))] | row)'
  printf '\n| memory MB | |\n| ---: | --- |\n'
  while IFS=$'\t' read -r size round; do
    printf '| %s | %s |\n' "$((size / 1024))" "$round"
  done <"$folder/memory"
}
