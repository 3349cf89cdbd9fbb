"""Extensions, directives and environment switches; all metadata is in pyproject.toml.

Switches: HASHSIEVE_DEBUG=1 (bounds checks, no optimisation), HASHSIEVE_SANITIZE=1 (AddressSanitizer and UBSan),
HASHSIEVE_PORTABLE=1 (every kernel but the portable one compiled out), HASHSIEVE_LIMITED_API=1 (one abi3 wheel for all
versions), HASHSIEVE_TEST_MODULES=1 (adds the fault injector that the tests use; never part of a release).
"""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


def switch(name: str) -> bool:
    return os.environ.get(f"HASHSIEVE_{name}", "") not in ("", "0")


DEBUG, SANITIZE, LIMITED_API = switch("DEBUG"), switch("SANITIZE"), switch("LIMITED_API")

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "embedsignature": True,
}

# Which plain C files each module is made of. Every module holds its own copy, so that one shared object never depends
# on another being loaded first; what they share they hand over as named capsules.
KERNELS = ["hs_sha256", "hs_md5", "hs_sha1", "hs_sha256_lanes", "hs_kernels"]
CORE = {
    "_cpu": ["hs_cpu"],
    "_seal": ["hs_cpu", "hs_os", "hs_sha256", "hs_sha256_lanes", "hs_hmac"],
    "_build": [
        "hs_cpu",
        "hs_os",
        *KERNELS,
        "hs_hmac",
        "hs_bloom",
        "hs_sort",
        "hs_set",
        "hs_run",
        "hs_batch",
        "hs_gather",
        "hs_pages",
        "hs_tables",
        "hs_emit",
        "hs_base",
    ],
    "_delta": [],
    "_lists": ["hs_text"],
    "_lists_json": ["hs_json"],
    "_lookup": ["hs_cpu", "hs_os", *KERNELS, "hs_hmac", "hs_bloom", "hs_sort", "hs_set", "hs_hex"],
    "_scan": [
        "hs_cpu",
        "hs_os",
        "hs_remote",
        "hs_walk",
        *KERNELS,
        "hs_hmac",
        "hs_lanes",
        "hs_bloom",
        "hs_sort",
        "hs_set",
        "hs_pipe",
    ],
}
FLAGS = {
    "unix": ["-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-sign-compare"],
    "msvc": ["/std:c11", "/experimental:c11atomics"],
}


class build_ext_for_compiler(build_ext):  # noqa: N801
    """Adds the flags of the compiler family, which is known only here."""

    def build_extensions(self) -> None:
        family = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        for extension in self.extensions:
            flags = list(FLAGS[family])
            if family == "unix":
                flags += ["-O0", "-g"] if DEBUG else ["-O1", "-g"] if SANITIZE else ["-O3"]
                if SANITIZE:
                    flags += [
                        "-fsanitize=address,undefined",
                        "-fno-sanitize-recover=undefined",
                        "-fno-omit-frame-pointer",
                    ]
                    extension.extra_link_args += ["-fsanitize=address,undefined"]
                if sys.platform.startswith("linux"):
                    # A forked child that makes system calls (hs_remote) must find every function bound already.
                    extension.extra_link_args += ["-Wl,-z,now"]
            extension.extra_compile_args += flags
        super().build_extensions()


def extension(name: str, source: str, core: list[str]) -> Extension:
    macros: list[tuple[str, str | None]] = [("_FILE_OFFSET_BITS", "64")]
    if switch("PORTABLE"):
        macros.append(("HS_PORTABLE_ONLY", "1"))
    if LIMITED_API:
        macros.append(("Py_LIMITED_API", "0x030B0000"))
    headers = [f"ext/core/{name}" for name in sorted(os.listdir("ext/core")) if name.endswith(".h")]
    return Extension(
        name,
        [source, *(f"ext/core/{part}.c" for part in core)],
        include_dirs=["ext/core"],
        define_macros=macros,
        depends=headers,
        py_limited_api=LIMITED_API,
    )


EXTENSIONS = [extension(f"hashsieve.{name}", f"ext/hashsieve/{name}.pyx", core) for name, core in CORE.items()]
if switch("TEST_MODULES"):
    EXTENSIONS.append(extension("hashsieve_faults", "tests/native/hashsieve_faults.pyx", ["hs_os"]))

setup(
    ext_modules=cythonize(
        EXTENSIONS,
        build_dir="build/cython" + ("-abi3" if LIMITED_API else ""),
        include_path=["ext"],
        compiler_directives=DIRECTIVES,
        # Cython's parallel build does not work on Windows.
        nthreads=0 if sys.platform == "win32" else min(4, os.cpu_count() or 1),
    ),
    cmdclass={"build_ext": build_ext_for_compiler},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
