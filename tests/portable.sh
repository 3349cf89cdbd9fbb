#!/usr/bin/env bash
# Builds the native modules with every kernel but the portable one compiled out and runs the tests against them; arguments
# go to pytest, without any it is the whole suite.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${BIN:-$root/.venv/bin}/python
work=$root/build/portable
mkdir -p "$work"
rm -rf "$work/engine" "$work/tests"
cp -r "$root/engine" "$root/ext" "$root/tests" "$root/bench" "$root/docs" "$root/setup.py" "$root/pyproject.toml" "$work/"
find "$work/engine" -name '*.so' -delete
touch "$work/README.md" "$work/LICENSE"
"$python" -m pip install -q 'setuptools>=77' 'Cython>=3.1'
cd "$work"
HASHSIEVE_PORTABLE=1 HASHSIEVE_TEST_MODULES=1 "$python" setup.py -q build_ext --inplace >build.log 2>&1 || { tail -40 build.log; exit 1; }
export PYTHONPATH=$work/engine
"$python" - <<'END'
from hashsieve._scan import kernels
states = {each["name"]: each["state"] for each in kernels()}
assert states.pop("portable") == "chosen" and set(states.values()) == {"not built"}, states
END
[ $# -gt 0 ] || set -- -n "${PYTEST_JOBS:-2}" tests
"$python" -m pytest -q -p no:cacheprovider "$@"
