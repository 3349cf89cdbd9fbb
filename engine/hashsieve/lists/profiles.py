"""Category profiles: what the numbers of a graded list mean where.

A category number has no meaning without the national scheme it was given under, so nothing that a profile does not map
is ever alerted on: it is undecided. An operator's own mapping comes as a file with lines such as ``1 = known-bad``.
Sources: the US scheme is the one Autopsy's ``DhsImageCategory`` documents; for
the UK profile 1, 2 and 3 stand for the legal grades A, B and C, as readers of such files commonly take them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hashsieve.errors import UsageError, shown
from hashsieve.model import Role

__all__ = ["NO_PROFILE", "PROFILES", "Profile", "lowered", "named_profile"]

_MAX_FILE_CHARS = 1 << 20
_LINE = re.compile(r"([^=:,;\t#][^=:,;\t]*)[=:,;\t]([^=:,;\t#]+?)(?:\s+#.*)?")


@dataclass(frozen=True, slots=True)
class Profile:
    """A named mapping from category text to role; what is not in ``roles`` is undecided."""

    name: str
    roles: Mapping[str, Role]

    def role(self, category: str | None) -> Role:
        """The role of *category*; None means that the record carries none."""
        return Role.UNDECIDED if category is None else self.roles.get(category, Role.UNDECIDED)


NO_PROFILE = Profile("none", {})
"""For files that declare no profile we know: everything is undecided."""

PROFILES: Mapping[str, Profile] = {
    "us": Profile(
        "us",
        {
            "0": Role.UNDECIDED,  # uncategorized
            "1": Role.KNOWN_BAD,  # child exploitation, illegal
            "2": Role.KNOWN_BAD,  # child exploitation, not illegal or age difficult
            "3": Role.UNDECIDED,  # computer generated or animated
            "4": Role.UNDECIDED,  # exemplar, comparison
            "5": Role.KNOWN_GOOD,  # not pertinent
        },
    ),
    "uk": Profile("uk", {"1": Role.KNOWN_BAD, "2": Role.KNOWN_BAD, "3": Role.KNOWN_BAD}),
}


def named_profile(name: str) -> Profile:
    """The profile called *name*, in any letter case, or the one in the file of that path.

    Raises :class:`UsageError` that lists the known ones, or says what is wrong with the file.
    """
    profile = PROFILES.get(name.lower())
    if profile is not None:
        return profile
    if not os.path.isfile(name):
        raise UsageError(
            f"no category profile is called {shown(name)!r}, and no file; known: {', '.join(PROFILES)}, "
            f"or a file with a line CATEGORY = ROLE for each category"
        )
    try:
        with open(name, encoding="utf-8-sig") as file:
            text = file.read(_MAX_FILE_CHARS + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{shown(name)}: cannot be read as a category profile: {error}") from error
    if len(text) > _MAX_FILE_CHARS:
        raise UsageError(f"{shown(name)}: is longer than {_MAX_FILE_CHARS} characters; this is no category profile")
    return Profile(shown(os.path.basename(name)), _parsed(text, shown(name)))


def _parsed(text: str, path: str) -> dict[str, Role]:
    """The mapping in a profile file: a line ``CATEGORY = ROLE`` each; quotes, blanks and ``#`` comments do not count.

    A colon, comma, semicolon or tab may stand for the equals sign, as exports of tables have it.
    """
    roles: dict[str, Role] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = _LINE.fullmatch(line.strip().rstrip(","))
        if words is None:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            raise UsageError(f"{path}: line {number} is not CATEGORY = ROLE: {shown(line.strip()[:80])}")
        category, role = (word.strip().strip("\"'").strip() for word in words.groups())
        if role not in tuple(Role):
            raise UsageError(f"{path}: line {number}: no role is called {shown(role)!r}; known: {', '.join(Role)}")
        if category in roles:
            raise UsageError(f"{path}: line {number} maps the category {shown(category)} again")
        roles[category] = Role(role)
    if not roles:
        raise UsageError(f"{path}: maps no category; write a line CATEGORY = ROLE for each")
    return roles


_SEVERITY = {Role.KNOWN_GOOD: 0, Role.UNDECIDED: 1, Role.KNOWN_BAD: 2}


def lowered(role: Role, ceiling: Role | None) -> Role:
    """*role*, or *ceiling* where that is less severe. The order is known-bad > undecided > known-good."""
    if ceiling is None or _SEVERITY[role] <= _SEVERITY[ceiling]:
        return role
    return ceiling
