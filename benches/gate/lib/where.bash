# Allocations per request, and where the time goes: functions by perf, system calls by strace. Sourced by ../run.
# shellcheck shell=bash disable=SC2154,SC2034

section_allocations() {
  (cd "$here" && cargo build --quiet --profile "$profile" --locked --package kallglot-bench-gate --example allocations)
  build
  printf '\nAllocations per request, by the thread that serves and by all others (SQLite'\''s own, in C, are not counted).\n\n'
  "$(dirname "$bench")/examples/allocations"
}

# What belongs together, by the name of a function or of its library; the first that fits counts.
# shellcheck disable=SC2016
groups='
  BEGIN { FS = "\t" }
  function group(library, name) {
    if (library ~ /kernel|vmlinux|^\[/) return "kernel"
    if (library ~ /sqlite/ || name ~ /^(sqlite3|btree|pager|wal|vdbe|pcache|balance|unix[A-Z])|sqlite|rusqlite/) return "SQLite"
    if (name ~ /^(_int_|malloc|free|cfree|realloc|calloc|__libc_|_mid_memalign|unlink_chunk|tcache)|__rust_(al|de)|__rdl_|mimalloc|^mi_/) return "allocation"
    if (name ~ /mem(cpy|move|set|cmp|chr)/) return "copying and comparing memory"
    if (name ~ /sha2|hmac|sha256|digest|crc32|subtle|chacha|poly1305/) return "hashes and ciphers"
    if (name ~ /kallglot/) return "Kallglot"
    if (name ~ /tracing/) return "tracing"
    if (name ~ /hyper|httparse/) return "hyper"
    if (name ~ /axum|tower|matchit/) return "axum, tower"
    if (name ~ /^<?http::|http::header|HeaderMap/) return "http (headers)"
    if (name ~ /tokio|mio::|parking_lot/) return "tokio"
    if (name ~ /(^|[< &])(core|alloc|std)::/) return "standard library"
    if (library ~ /kallglot/ && name !~ /::|^_|rust/) return "SQLite" # Its functions in C.
    if (name ~ /serde|jiff|core::fmt|alloc::fmt|itoa/) return "formatting"
    if (library ~ /libc|ld-linux|vdso/) return "libc"
    return "other"
  }
  { sum[group($2, $3)] += $1 }
  END { for (name in sum) printf "| %.1f | %s |\n", sum[name], name }
'

profile() { # NAME SCRIPT URL wrk options…
  local name=$1 script=$2 address=$3 load calls requests
  shift 3
  wrk_run "$warm_up_s" "$connections" "$script" "$our_pid" "$address" '{}' "$@" >/dev/null
  wrk_run $((seconds + 2)) "$connections" "$script" "$our_pid" "$address" "{\"section\":\"where\",\"name\":\"$name\"}" "$@" >"$folder/load.json" &
  load=$!
  pause 1
  perf record --quiet --freq 1999 --pid "$our_pid" --output "$folder/perf.data" -- sleep "$seconds" 2>>"$folder/perf.log" || {
    tail -n 3 "$folder/perf.log" >&2
    die "perf can't record"
  }
  wait "$load"
  record <"$folder/load.json"
  perf report --input "$folder/perf.data" --stdio --no-children --sort dso,symbol --field-separator $'\t' 2>>"$folder/perf.log" |
    awk -F '\t' '!/^#/ && NF >= 3 { for (i = 1; i <= 3; i++) gsub(/^ +|%? +$/, "", $i); sub(/^\[[.k]\] /, "", $3); print $1 "\t" $2 "\t" $3 }' >"$folder/perf.tsv"
  printf '\n**%s**, share of the server'\''s processor time in %%:\n\n| %% | what |\n| ---: | --- |\n' "$name"
  awk "$groups" "$folder/perf.tsv" | sort --reverse --numeric-sort --key 2
  printf '\n| %% | function | in |\n| ---: | --- | --- |\n'
  head -n 25 "$folder/perf.tsv" | awk -F '\t' '{ printf "| %s | `%s` | %s |\n", $1, substr($3, 1, 110), $2 }'

  taskset --cpu-list "$load_cores" strace --follow-forks --summary-only --summary-columns calls,name --output "$folder/strace" --attach "$our_pid" 2>>"$folder/strace.log" &
  calls=$!
  # shellcheck disable=SC2004 # An associative array.
  running[$calls]=strace
  pause 1
  wrk_run 4 "$connections" "$script" "$our_pid" "$address" '{}' "$@" >"$folder/load.json"
  kill -INT "$calls"
  wait "$calls" || true
  unset "running[$calls]"
  requests=$(jq .requests "$folder/load.json")
  printf '\n| system calls a request | |\n| ---: | --- |\n'
  awk -v requests="$requests" '$1 ~ /^[0-9]+$/ && $2 != "total" && $1 / requests >= 0.001 { printf "| %.3f | %s |\n", $1 / requests, $2 }' "$folder/strace"
}

section_where() {
  local connections=${connections:-32}
  build
  write_settings
  our_organization "$folder/where"
  serve "$folder/where" where "$server_cores"
  profile "GET $path" report "http://127.0.0.1:$our_port$path" --header "Authorization: Bearer $our_key"
  profile 'POST /v1/sessions' sessions "http://127.0.0.1:$our_port/v1/sessions" --header "Authorization: Bearer $our_key"
  stop "$our_pid"
}
