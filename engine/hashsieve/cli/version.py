"""``hashsieve --version --verbose``: how this build works on this machine."""

from __future__ import annotations

import platform
import sys

from .. import __version__
from . import output


def show_version(verbose: bool) -> None:
    """Prints the version; with *verbose* also what support asks for first."""
    output.say(f"hashsieve {__version__}")
    if not verbose:
        return
    from .. import _cpu, _lookup, _seal

    have = _cpu.features()
    portable = _cpu.portable_build()
    output.say(
        f"python        {platform.python_implementation()} {platform.python_version()} "
        f"on {sys.platform} {platform.machine()}"
    )
    output.say(f"built module  {_lookup.__file__}")
    output.say(f"cpu           {' '.join(have) or 'nothing beyond the baseline'}")
    output.say(f"kernels       {'portable only, by build' if portable else 'chosen at run time'}")
    output.say(f"page hashes   {'sha-ni' if 'sha-ni' in have and not portable else 'portable'}")
    output.say(f"fingerprints  {next(name for name, chosen in _seal.kernels() if chosen)}")
    output.say(f"filter probe  {'avx2' if 'avx2' in have and not portable else 'portable'}")
    output.say(
        f"tree walk     {'by directory handles' if sys.platform.startswith('linux') else 'unsupported on this system'}"
    )
