# Processes under test: starting, awaiting and ending them, their processor time and memory. Sourced by ../run.
# shellcheck shell=bash disable=SC2154,SC2034

die() {
  printf 'benches/gate/run: %s\n' "$*" >&2
  exit 1
}

note() {
  printf '%s\n' "$*" >&2
}

# Nothing ever comes from it: reading it with a time limit is a pause without a process.
exec {silence}<> <(:)
pause() {
  read -r -t "$1" -u "$silence" || true
}

declare -A running=() # pid → name
started_pid=          # what `start` started last
last_port=$((20000 + RANDOM % 10000))

answers() { # PORT: whether somebody listens there
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_port() { # sets last_port to a port of loopback where nobody listens
  last_port=$((last_port + 1))
  while answers "$last_port"; do
    last_port=$((last_port + 1))
  done
}

start() { # NAME CORES COMMAND…: its output goes to FOLDER/NAME.log
  local name=$1 cores=$2
  shift 2
  taskset --cpu-list "$cores" "$@" >>"$folder/$name.log" 2>&1 &
  started_pid=$!
  running[$started_pid]=$name
}

await_port() { # PORT PID
  local waited_ms=0
  until answers "$1"; do
    kill -0 "$2" 2>/dev/null || {
      tail -n 5 "$folder/${running[$2]}.log" >&2
      die "${running[$2]} did not start"
    }
    ((waited_ms < 60000)) || die "${running[$2]} does not listen"
    pause 0.02
    waited_ms=$((waited_ms + 20))
  done
}

stop() { # PID
  kill -TERM "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
  unset "running[$1]"
}

stop_all() {
  local pid
  for pid in "${!running[@]}"; do
    stop "$pid"
  done
}

cpu_ms() { # PID: processor time of it and its children, in ms (clock ticks are 10 ms)
  local pid fields total=0
  for pid in "$1" $(pgrep -P "$1" || true); do
    # The name, in parentheses, may hold blanks; user and system time are the 12th and 13th fields after it.
    fields=$(<"/proc/$pid/stat") || continue
    read -r -a fields <<<"${fields##*) }"
    total=$((total + fields[11] + fields[12]))
  done
  echo $((total * 10))
}

memory_kb() { # PID: resident memory
  sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB$/\1/p' "/proc/$1/status"
}

now_ms() {
  local now=${EPOCHREALTIME/[.,]/}
  echo $((now / 1000))
}
