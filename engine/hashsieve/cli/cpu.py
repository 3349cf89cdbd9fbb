"""``hashsieve cpu``: which digest kernels there are, and which one is used."""

from __future__ import annotations

from . import output
from .options import JsonOption


def command(json: JsonOption = False) -> int:
    """List the digest kernels: what each needs, what it was measured at, which one is chosen and why."""
    from .._cpu import features
    from .._scan import kernels
    from ..scan.kernels import demanded_kernels

    demanded = demanded_kernels()
    rows = kernels()
    for row in rows:
        wanted = demanded.get(row["kind"])
        if wanted == row["name"]:
            row["state"] = "demanded"
        elif wanted is not None and row["state"] == "chosen":
            row["state"] = "available"
    if json:
        output.line({"features": list(features()), "kernels": rows})
        return 0
    output.say(f"this CPU has: {' '.join(features()) or 'nothing beyond the baseline'}")
    for row in rows:
        why = {
            "chosen": "chosen: the fastest of those that run here",
            "demanded": "demanded by HASHSIEVE_KERNEL",
            "no cpu": f"not used: this CPU lacks {row['needs']}",
            "not built": "not built for this processor family",
        }.get(row["state"], "available")
        speed = "" if row["state"] == "not built" else f"{row['gb_per_second']:5.2f} GB/s"
        output.say(f"{row['kind']:<7} {row['name']:<9} {row['lanes']:>2} lanes  {speed:<10}  {why}")
    output.say("speeds: as measured with full lanes on one core of a 2 vCPU EPYC (Zen 3); only their ratios choose")
    output.say("HASHSIEVE_KERNEL=kind:name,... demands others")
    return 0
