"""Category profiles: what the numbers of a graded list mean where.

A category number has no meaning without the national scheme it was given under, so nothing that a profile does not map
is ever alerted on: it is undecided. Sources: the US scheme is the one Autopsy's ``DhsImageCategory`` documents; for
the UK profile 1, 2 and 3 stand for the legal grades A, B and C, as readers of such files commonly take them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hashsieve.errors import UsageError
from hashsieve.model import Role

__all__ = ["NO_PROFILE", "PROFILES", "Profile", "lowered", "named_profile"]


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
    """The profile called *name*, in any letter case. Raises :class:`UsageError` that lists the known ones."""
    profile = PROFILES.get(name.lower())
    if profile is None:
        raise UsageError(f"no category profile is called {name!r}; known: {', '.join(PROFILES)}")
    return profile


_SEVERITY = {Role.KNOWN_GOOD: 0, Role.UNDECIDED: 1, Role.KNOWN_BAD: 2}


def lowered(role: Role, ceiling: Role | None) -> Role:
    """*role*, or *ceiling* where that is less severe. The order is known-bad > undecided > known-good."""
    if ceiling is None or _SEVERITY[role] <= _SEVERITY[ceiling]:
        return role
    return ceiling
