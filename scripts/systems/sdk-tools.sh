#!/usr/bin/env bash
# Installs what docs/sdks.md tells to install, into sdk/venv and sdk/bin: for the languages named, or for all.
# Needs python3 with venv, go, mvn. Usage: scripts/systems/sdk-tools.sh [python] [go] [java]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[ $# -gt 0 ] || set -- python go java
for language in "$@"; do
  case $language in
    python)
      python3 -m venv sdk/venv
      sdk/venv/bin/pip install --quiet grpcio==1.85.3 grpcio-tools==1.85.1
      ;;
    go)
      export GOBIN="$PWD/sdk/bin"
      go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
      go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
      ;;
    java)
      mvn -B -q -f examples/java dependency:copy@generators
      chmod +x sdk/bin/protoc sdk/bin/protoc-gen-grpc-java
      ;;
    *)
      echo "sdk-tools.sh: no such language: $language (there are python, go and java)" >&2
      exit 2
      ;;
  esac
done
