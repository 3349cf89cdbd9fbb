#!/usr/bin/env bash
# Builds all of ext/core for arm64, then runs the test of the kernels, NEON and ARMv8 SHA ones included, under emulation.
# Needs aarch64-linux-gnu-gcc and qemu-aarch64. The first argument is a folder for the build.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
cd "$root"
objects=()
for source in ext/core/*.c tests/native/test_kernels.c; do
    object=$work/$(basename "$source" .c).o
    aarch64-linux-gnu-gcc -std=c11 -O3 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -D_FILE_OFFSET_BITS=64 \
        -Iext/core -c "$source" -o "$object"
    objects+=("$object")
done
aarch64-linux-gnu-gcc -static "${objects[@]}" -o "$work/kernels"
qemu-aarch64 "$work/kernels"
