"""Builds test_kernels.c by hand, as its first lines say, and runs it: here, sanitized, without kernels, for arm64."""

import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = [
    "tests/native/test_kernels.c",
    *(f"ext/core/hs_{part}.c" for part in ("cpu", "kernels", "md5", "sha1", "sha256", "sha256_lanes", "hmac")),
]
SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


def build_and_run(tmp_path, compiler, *flags, emulator=()):
    for tool in (compiler, *emulator[:1]):
        if not shutil.which(tool):
            pytest.skip(f"no {tool}")
    program = tmp_path / "kernels"
    command = [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", *flags, "-Iext/core", *SOURCES, "-o", program]
    subprocess.run(command, cwd=ROOT, check=True)
    # A sanitizer that is loaded into this process is not that of the compiler under test.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run([*emulator, program], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 failures" in done.stdout
    return done.stdout


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", [["-O3"], SANITIZERS], ids=["optimised", "sanitized"])
def test_every_kernel_of_this_cpu_equals_the_portable_one(tmp_path, compiler, flags):
    build_and_run(tmp_path, compiler, *flags)


def test_the_portable_kernels_stand_alone(tmp_path):
    assert "-x" not in build_and_run(tmp_path, "cc", "-O2", "-DHS_PORTABLE_ONLY")


def test_arm64_kernels_equal_the_portable_ones(tmp_path):
    output = build_and_run(tmp_path, "aarch64-linux-gnu-gcc", "-O3", "-static", emulator=["qemu-aarch64"])
    for kernel in ("neon-x4", "armsha-x1", "armsha-x2", "armsha-x4"):
        assert kernel in output
