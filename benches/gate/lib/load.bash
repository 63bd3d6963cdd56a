# Load by wrk, checks of answers, and tables. Sourced by ../run.
# shellcheck shell=bash disable=SC2154,SC2034

# What one run of wrk measured, as a line of JSON with what is given added.
wrk_run() { # SECONDS CONNECTIONS SCRIPT SERVER_PID URL ADDED_JSON [wrk options] [-- script arguments]
  local seconds=$1 connections=$2 script=$3 pid=$4 url=$5 added=$6 cpu_before_ms cpu_after_ms result
  shift 6
  cpu_before_ms=$(cpu_ms "$pid")
  # wrk wants its options before the address and the script's arguments after it.
  local options=()
  while (($#)) && [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  # What begins this run's idempotency keys: a time, so that no two runs have the same.
  result=$(GATE_WRK=$here/wrk GATE_RUN=$EPOCHREALTIME taskset --cpu-list "$load_cores" wrk --threads 1 --connections "$connections" \
    --duration "${seconds}s" --timeout 10s --script "$here/wrk/$script.lua" "${options[@]}" "$url" "$@" | tail -n 1)
  cpu_after_ms=$(cpu_ms "$pid")
  [[ $result == '{'*'}' ]] || die "wrk says: $result"
  jq --compact-output --argjson added "$added" --argjson cpu "$((cpu_after_ms - cpu_before_ms))" \
    '. + {cpu_percent: ($cpu / .seconds / 10), requests_per_cpu_s: (.requests * 1000 / ([$cpu, 1] | max))} + $added' <<<"$result"
}

keep() { # one line of JSON into the results
  cat >>"$folder/results.jsonl"
}

record() { # likewise; a run with a refused or broken request measures something else
  local line
  line=$(cat)
  keep <<<"$line"
  jq --exit-status '.refused == 0 and .broken == 0' >/dev/null <<<"$line" || die "requests failed: $line"
}

# Asks once and checks status and headers. The body is in FOLDER/body, the headers in FOLDER/headers.
check() { # STATUS HEADERS_EXPECTED curl arguments…
  local expected=$1 header headers status
  read -r -a headers <<<"$2"
  shift 2
  status=$(curl --silent --show-error --max-time 10 --output "$folder/body" --dump-header "$folder/headers" --write-out '%{http_code}' "$@")
  [[ $status == "$expected" ]] || die "status $status instead of $expected from ${*: -1}: $(head --bytes 300 "$folder/body")"
  for header in "${headers[@]}"; do
    grep --quiet --ignore-case "^$header:" "$folder/headers" || die "no header $header from ${*: -1}"
  done
}

header_value() { # NAME: of the last answer that was checked
  sed -n "s/^$1: *\(.*[^[:space:]]\)[[:space:]]*$/\1/Ip" "$folder/headers"
}

# jq functions that the tables share.
# shellcheck disable=SC2016
jq_functions='
  def median: sort | if length == 0 then null elif length % 2 == 1 then .[(length - 1) / 2] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
  def digits($n): if . == null then "–" else (. * pow(10; $n) | round) as $scaled
    | if $n == 0 then ($scaled | tostring)
      else ($scaled | fabs | tostring) as $text | ("0000"[0:([$n + 1 - ($text | length), 0] | max)] + $text) as $text
        | (if $scaled < 0 then "-" else "" end) + $text[0:-$n] + "." + $text[-$n:] end end;
  def row: "| " + join(" | ") + " |";
  # Of the rounds of one name: what the tables show.
  def summary: {
    rounds: length, rate: (map(.rate) | median), rate_min: (map(.rate) | min), rate_max: (map(.rate) | max),
    p50_ms: (map(.p50_ms) | median), p99_ms: (map(.p99_ms) | median), p99_max_ms: (map(.p99_ms) | max),
    max_ms: (map(.max_ms) | max), refused: (map(.refused + .broken) | add), cpu_percent: (map(.cpu_percent) | median),
    requests_per_cpu_s: (map(.requests_per_cpu_s) | median) };
  def named($name): map(select(.name == $name));
'

results() { # SECTION FILTER: jq over the section's results as an array
  jq --raw-output --slurp "$jq_functions map(select(.section == \"$1\")) | $2" "$folder/results.jsonl"
}

machine() { # what it was measured on, one line
  printf '%s × %s, Linux %s, %s, %s on %s; servers on core %s, load on core %s, over loopback; load average before %s\n' \
    "$(nproc)" "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)" "$(uname --kernel-release)" \
    "$(sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' /etc/os-release)" "$(stat --file-system --format %T "$folder")" "$(df --output=source "$folder" | tail -n 1)" \
    "$server_cores" "$load_cores" "$(cut --delimiter ' ' --fields 1 /proc/loadavg)"
}
