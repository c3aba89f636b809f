#!/usr/bin/env bash
# Another line of Node, from npm's package `node`:
#   node.sh VERSION FOLDER    installs it in FOLDER, unless it is there, and prints the program's path
set -euo pipefail
[ $# = 2 ] || { sed -n '2,3s/^# \{0,1\}//p' "$0"; exit 2; }
version=$1 folder=$2
program=$folder/node_modules/node/bin/node
if [ ! -x "$program" ]; then
  mkdir -p "$folder"
  npm install --prefix "$folder" --no-save --no-package-lock --no-fund --no-audit "node@$version" >&2
  # An npm that runs no install scripts leaves this step undone.
  [ -x "$program" ] || (cd "$folder/node_modules/node" && node installArchSpecificPackage >&2)
fi
"$program" --version >&2
echo "$program"
