"""``hashsieve info``: what a hash set is."""

from __future__ import annotations

from ..errors import shown
from . import output
from .options import JsonOption, SetOption


def command(path: SetOption, json: JsonOption = False) -> int:
    """Print what a hash set is: root, generation, counts, sources, filter rate."""
    from ..hashset.hashset import HashSet

    with HashSet.open(path) as opened:
        facts = opened.info()
    if json:
        output.line(facts)
        return 0
    output.say(f"{shown(path)}: {facts['entries']:,} entries, generation {facts['generation']}")
    output.say(f"root        {facts['root']}")
    output.say(f"digests     {', '.join(f'{count:,} {kind}' for kind, count in facts['digests'].items()) or 'none'}")
    output.say(f"roles       {', '.join(f'{count:,} {role}' for role, count in facts['roles'].items()) or 'none'}")
    output.say(f"sources     {shown(', '.join(facts['sources'])) or 'none'}")
    output.say(f"conflicts   {facts['conflicts']:,}")
    output.say(f"sizes       {facts['sizes']}")
    output.say(
        f"filter      {facts['filter']['bits_per_entry']:g} bits a digest, false positives {facts['filter']['fpr']:.4%}"
    )
    output.say(f"valid until {facts['valid_until'] or 'no end given'}")
    output.say("sealed      no\nsignature   none")
    return 0
