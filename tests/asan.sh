#!/usr/bin/env bash
# Builds the native modules with AddressSanitizer and UBSan and runs the damage fuzz and the native tests against them.
# The number of seconds for the fuzz is the first argument.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${BIN:-$root/.venv/bin}/python
work=$root/build/asan
mkdir -p "$work"
rm -rf "$work/engine"
cp -r "$root/engine" "$root/ext" "$root/tests" "$root/setup.py" "$root/pyproject.toml" "$work/"
find "$work/engine" -name '*.so' -delete
touch "$work/README.md" "$work/LICENSE"
"$python" -m pip install -q 'setuptools>=77' 'Cython>=3.1'
cd "$work"
HASHSIEVE_SANITIZE=1 HASHSIEVE_TEST_MODULES=1 "$python" setup.py -q build_ext --inplace >build.log 2>&1 || { tail -40 build.log; exit 1; }
export LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1
export PYTHONPATH=$work/engine PYTHONMALLOC=malloc
"$python" tests/format/fuzz_set_damage.py --seconds "${1:-20}" --seed "${2:-1}"
# test_kernels.py builds a sanitized program of its own; memory is not measured under a sanitizer, which takes its share.
"$python" -m pytest -q -p no:cacheprovider tests/native --ignore tests/native/test_kernels.py -k 'not no_more_memory'
