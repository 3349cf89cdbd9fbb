"""``hashsieve verify``: every page of a hash set, checked."""

from __future__ import annotations

from ..errors import SetDamagedError, shown
from . import output, progress
from .options import Opening, SetOption, opens_sets


@opens_sets
def command(path: SetOption, opening: Opening) -> int:
    """Check every page of a hash set. Exit code 0 intact, 3 damage found, 2 cannot be opened."""
    done = 0

    def on_progress(pages: int) -> None:
        nonlocal done
        done = pages

    try:
        with (
            opening.open(path) as opened,
            progress.show("verifying", lambda: f"{done:,} of {opened.page_count:,} pages"),
        ):
            opened.verify(on_progress)
            output.say(f"{shown(path)}: intact, {opened.page_count:,} pages, root {opened.root.hex()}")
    except SetDamagedError as problem:
        output.note(f"hashsieve: {problem}")
        return 3
    return 0
