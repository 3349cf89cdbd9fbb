"""``hashsieve info``: what a hash set is."""

from __future__ import annotations

from ..errors import shown
from . import output
from .options import JsonOption, Opening, SetOption, opens_sets


@opens_sets
def command(path: SetOption, opening: Opening, json: JsonOption = False) -> int:
    """Print what a hash set is: root, generation, counts, sources, filter rate."""
    with opening.open(path) as opened:
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
    passed = ", which has PASSED: get a newer set" if facts["expired"] else ""
    output.say(f"valid until {facts['valid_until'] or 'no end given'}{passed}")
    output.say(f"sealed      {'by key ' + facts['seal_key_id'] if facts['sealed'] else 'no'}")
    signed = facts["signature"]
    for each in signed["keys"] if signed else ():
        trusted = ", trusted" if each["key"] == signed["trusted"] else ""
        output.say(f"signature   {'valid' if each['valid'] else 'DOES NOT FIT'}, ed25519:{each['key']}{trusted}")
    if not signed:
        output.say("signature   none")
    return 0
