#!/usr/bin/env bash
# Environments of peers that cannot share ours, one folder each: `bash benchmarks/peers.sh bfcl`.
# Prints the path of the peer's python as its last line; a finished one is left as it is.
set -euo pipefail

case "${1:-}" in
bfcl)
  wanted=(bfcl-eval==2026.3.23 soundfile) # a handler of it imports soundfile without saying so
  asked='import importlib.metadata as m; m.version("soundfile"); assert m.version("bfcl-eval") == "2026.3.23"'
  ;;
*)
  echo "usage: bash benchmarks/peers.sh NAME, where NAME is one of: bfcl" >&2
  exit 2
  ;;
esac

folder="${CALLGRAIN_PEERS:-.peers}/$1"
python="$folder/bin/python"
if ! { [ -x "$python" ] && "$python" -c "$asked" 2>/dev/null; }; then
  mkdir -p "$(dirname "$folder")"
  "${PYTHON:-python3}" -m venv --clear "$folder" >&2
  "$python" -m pip install --quiet --disable-pip-version-check "${wanted[@]}" >&2
  "$python" -c "$asked"
fi
echo "$(cd "$(dirname "$python")" && pwd)/python"
