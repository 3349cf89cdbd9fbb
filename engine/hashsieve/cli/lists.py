"""``hashsieve lists``: which list formats are read."""

from __future__ import annotations

from . import output


def command() -> int:
    """Name every list format with where it comes from."""
    from ..lists import FORMATS

    width = max(len(each.name) for each in FORMATS)
    for each in FORMATS:
        output.say(f"{each.name:<{width}}  {each.summary} -- {each.origin}")
    return 0
