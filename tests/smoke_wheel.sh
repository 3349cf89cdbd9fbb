#!/usr/bin/env bash
# Builds the sdist, builds a wheel from the sdist alone, installs it into a fresh environment and runs the main job there.
# HASHSIEVE_LIMITED_API=1 in the environment makes it the abi3 wheel.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/build"
"$work/build/bin/python" -m pip install -q --upgrade pip build
# From a copy: a build must not leave anything in the tree, nor use what an earlier one left there.
mkdir "$work/source"
(cd "$root" && { git ls-files -z 2>/dev/null || find . -type f -print0; } | tar --null -T - -cf -) | tar -xf - -C "$work/source"
"$work/build/bin/python" -m build -q --outdir "$work/dist" "$work/source" >"$work/build.log" 2>&1 || { tail -40 "$work/build.log"; exit 1; }
ls "$work/dist"
"$python" -m venv "$work/fresh"
"$work/fresh/bin/python" -m pip install -q "$work"/dist/*.whl
cd "$work"
if [ -n "${HASHSIEVE_LIMITED_API:-}" ]; then
    ls dist/*abi3*.whl >/dev/null
fi
unzip -l dist/*.whl 2>/dev/null | grep -E '\.(pyx|pxd|c|h)$|hashsieve_faults' && { echo "the wheel holds sources or test modules"; exit 1; }
fresh/bin/python - <<'END'
import hashlib, os, sys
import hashsieve

assert "numpy" not in sys.modules and "cryptography" not in sys.modules and "rich" not in sys.modules
os.mkdir("tree")
for number in range(100):
    with open(f"tree/{number}", "wb") as file:
        file.write(b"%d" % number * 1000)
with open("list.txt", "w") as file:
    file.write(hashlib.sha1(b"7" * 1000).hexdigest() + "\n")
hashsieve.compile_lists(["list.txt"], "known.hset", role="known-bad")
with hashsieve.HashSet.open("known.hset") as known, hashsieve.Scanner([known]) as scanner:
    *outcomes, summary = scanner.scan("tree")
assert [outcome.path for outcome in outcomes] == [os.path.abspath("tree/7").encode()], outcomes
assert summary.seen == 100 and summary.matched == 1, summary
print("smoke test passed:", hashsieve.__version__, sys.version.split()[0])
END
fresh/bin/hashsieve verify known.hset
test "$(fresh/bin/hashsieve scan --json -s known.hset tree | grep -c '"event":"match"')" = 1
fresh/bin/hashsieve --version --verbose
