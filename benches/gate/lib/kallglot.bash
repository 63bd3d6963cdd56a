# Our own server under test: built, given an organization without limits that matter, started. Sourced by ../run.
# shellcheck shell=bash disable=SC2154,SC2034

kallglot= # the binary
bench=    # this crate's binary, which makes keys, floods and measures the disk

build() {
  note "building (some minutes the first time)"
  local target
  target=$(cd "$here" && cargo metadata --format-version 1 --no-deps --locked | jq --raw-output .target_directory)
  bench=$target/$profile/kallglot-bench-gate
  (cd "$here" && cargo build --quiet --profile "$profile" --locked --package kallglot-bench-gate)
  if [[ -n $server_given ]]; then
    kallglot=$server_given
  else
    (cd "$here" && cargo build --quiet --profile "$profile" --locked --package kallglot-server)
    kallglot=$target/$profile/kallglot
  fi
  [[ -x $kallglot ]] || die "$kallglot can't be run"
}

# Sessions are created, never spoken in, so the scripted engine will do: the real ones would start processes beside the measured one.
write_settings() {
  cat >"$folder/kallglot.toml" <<'TOML'
[[engine]]
name = "scripted"
recognizer = "scripted"
translator = "scripted"
synthesizer = "scripted"
TOML
}

our_command() { # DATA_FOLDER COMMAND…: its JSON
  local data=$1
  shift
  "$kallglot" --config "$folder/kallglot.toml" --data-dir "$data" --json "$@"
}

our_organization() { # DATA_FOLDER: sets our_organization_id and our_key
  our_organization_id=$(our_command "$1" org create --name Acme --plan enterprise --credits 1000000000 \
    --requests-per-minute 1000000000 --concurrent-sessions 1000000000 | jq --raw-output .id)
  our_key=$(our_command "$1" key create --org "$our_organization_id" --env live | jq --raw-output .secret)
}

serve() { # DATA_FOLDER NAME CORES: sets our_pid, our_port and our_start_ms, the time to readiness
  local begun
  free_port
  our_port=$last_port
  begun=$(now_ms)
  start "$2" "$3" env "${server_environment[@]}" "$kallglot" --config "$folder/kallglot.toml" --data-dir "$1" serve --listen "127.0.0.1:$our_port"
  our_pid=$started_pid
  until ready; do
    kill -0 "$our_pid" 2>/dev/null || {
      tail -n 5 "$folder/$2.log" >&2
      die "kallglot did not start"
    }
    (($(now_ms) - begun < 120000)) || die "kallglot is not ready"
    pause 0.001
  done
  our_start_ms=$(($(now_ms) - begun))
}

ready() {
  local status
  # Without a process for each attempt, so that the time is exact to about a millisecond.
  {
    exec 3<>"/dev/tcp/127.0.0.1/$our_port" || return 1
    printf 'GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' >&3
    read -r -t 10 status <&3 || status=
    exec 3>&- 3<&-
  } 2>/dev/null
  [[ $status == *' 200 '* ]]
}
