#!/usr/bin/env bash
# Debian's PostgreSQL 15 with its default settings, for tests that must not depend on the embedded one.
#   postgresql.sh install                           as root; does nothing when it is there
#   postgresql.sh start FOLDER PORT [NAME=VALUE …]  makes a cluster in FOLDER, starts it on loopback, prints its URL
#   postgresql.sh stop FOLDER                       ends it at once and removes FOLDER
# FOLDER must be one that every user may enter. Settings that are given are written after Debian's own.
set -euo pipefail

VERSION=15
BIN=/usr/lib/postgresql/$VERSION/bin
# Like nothing else that is printed: a test looks for it in all outputs.
PASSWORD=pw7Rk2vQx9Lm

# PostgreSQL does not run as root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/tmp "$@"; else "$@"; fi
}

install_it() {
  [ -x "$BIN/postgres" ] && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "postgresql-$VERSION" >/dev/null
}

start_it() {
  local folder=$1 port=$2
  shift 2
  mkdir -p "$folder"
  if [ "$(id -u)" = 0 ]; then chown postgres: "$folder"; fi
  as_postgres sh -c "umask 077; echo $PASSWORD >'$folder/password'"
  # As pg_createcluster makes one, with the locale that every machine has.
  as_postgres "$BIN/initdb" -D "$folder/data" --username=postgres --pwfile="$folder/password" \
    --auth-local=peer --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >"$folder/initdb.log"
  {
    printf "port = %s\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\n" "$port" "$folder"
    local setting
    for setting in "$@"; do printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"; done
  } | as_postgres tee -a "$folder/data/postgresql.conf" >/dev/null
  as_postgres "$BIN/pg_ctl" -D "$folder/data" -l "$folder/postgresql.log" -w -t 60 start >"$folder/start.log"
  echo "postgres://postgres:$PASSWORD@127.0.0.1:$port/postgres"
}

stop_it() {
  as_postgres "$BIN/pg_ctl" -D "$1/data" -m immediate -w -t 60 stop >/dev/null || true
  rm -rf "$1"
}

case "${1-}" in
  install) install_it ;;
  start) shift; start_it "$@" ;;
  stop) stop_it "$2" ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
