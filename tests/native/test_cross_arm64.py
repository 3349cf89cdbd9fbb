"""All of ext/core builds for arm64 without a warning, and its kernels are right under emulation."""

import pathlib
import shutil
import subprocess

import pytest


def test_core_builds_for_arm64_and_its_kernels_are_right(tmp_path):
    for tool in ("bash", "aarch64-linux-gnu-gcc", "qemu-aarch64"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool}")
    script = pathlib.Path(__file__).with_name("cross_arm64.sh")
    done = subprocess.run(["bash", script, tmp_path / "build"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 failures" in done.stdout
    for kernel in ("neon-x4", "armsha-x1", "armsha-x2", "armsha-x4"):
        assert kernel in done.stdout
