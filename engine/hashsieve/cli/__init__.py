"""The command line: one file per command; parsing, printing and exit codes, no logic.

Exit codes: 0 everything examined, nothing known; 1 at least one match; 2 usage or fatal, nothing published; 3 nothing
known but something failed, changed or was left out; 130 and 143 stopped by a signal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; used as the console script."""
    from . import signals

    _give_streams()
    try:
        # Without arguments of its own this call is the process: a further Ctrl-C on its way out has nothing left to
        # end.
        with signals.installed(deaf_after_stop=argv is None):
            return _guarded(argv)
    except signals.Stopped as stopped:
        # From anywhere above, the imports included.
        from . import output

        output.note(f"hashsieve: stopped by {stopped.name}; nothing was published")
        return stopped.exit_code


def _guarded(argv: Sequence[str] | None) -> int:
    from ..errors import HashsieveError, StoppedError
    from . import app, output, signals

    try:
        code = app.run(argv)
        sys.stdout.flush()
        return code
    except (output.ClosedPipe, BrokenPipeError):
        # The exit code must not say that everything was examined.
        silence_stdout()
        return 3
    except StoppedError as problem:
        output.note(f"hashsieve: {problem}")
        number = signals.received()
        return problem.exit_code if number is None else 128 + number
    except HashsieveError as problem:
        output.note(f"hashsieve: {problem}")
        return problem.exit_code
    except MemoryError as problem:
        output.note(f"hashsieve: no memory: {problem}")
        return 2
    except Exception:
        # A fault of ours. Python would end with 1, which here means that something was found.
        import traceback

        output.note(traceback.format_exc().rstrip())
        output.note("hashsieve: stopped by an unexpected error; please report the lines above")
        return 2


def _give_streams() -> None:
    """A process may be started without standard output or error; what is printed then goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def silence_stdout() -> None:
    """Whoever read our output has gone; Python flushes it once more at exit and needs somewhere to put it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
