#!/usr/bin/env bash
# Debian's PgBouncer, for the test of poolers.
#   pgbouncer.sh install                                     as root; does nothing when it is there
#   pgbouncer.sh start FOLDER PORT POSTGRES_PORT MODE [NAME=VALUE …]
#       starts it on loopback before the PostgreSQL on POSTGRES_PORT, with pool_mode = MODE and everybody of FOLDER/users.txt let in;
#       prints its pid
#   pgbouncer.sh stop FOLDER                                 ends it and removes FOLDER
# FOLDER must be one that every user may enter.
set -euo pipefail

# PgBouncer does not run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/tmp "$@"; else "$@"; fi
}

install_it() {
  [ -x /usr/sbin/pgbouncer ] && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends pgbouncer >/dev/null
}

start_it() {
  local folder=$1 port=$2 postgres_port=$3 mode=$4
  shift 4
  if [ "$(id -u)" = 0 ]; then chown -R postgres: "$folder"; fi
  {
    printf "[databases]\n* = host=127.0.0.1 port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\n" "$postgres_port" "$port"
    printf "unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = %s/users.txt\npool_mode = %s\n" "$folder" "$mode"
    printf "default_pool_size = 40\nlogfile = %s/log\npidfile = %s/pid\n" "$folder" "$folder"
    local setting
    for setting in "$@"; do printf "%s = %s\n" "${setting%%=*}" "${setting#*=}"; done
  } | as_postgres tee "$folder/pgbouncer.ini" >/dev/null
  as_postgres /usr/sbin/pgbouncer -q -d "$folder/pgbouncer.ini"
  local tries
  for tries in $(seq 100); do
    if [ -s "$folder/pid" ] && (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null; then cat "$folder/pid"; return; fi
    sleep 0.1
  done
  cat "$folder/log" >&2
  return 1
}

stop_it() {
  if [ -s "$1/pid" ]; then kill "$(cat "$1/pid")" 2>/dev/null || true; fi
  rm -rf "$1"
}

case "${1-}" in
  install) install_it ;;
  start) shift; start_it "$@" ;;
  stop) stop_it "$2" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
