"""``hashsieve keygen``: a new key for signing or sealing sets."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import UsageError, shown
from . import output


def command(
    kind: Annotated[str, typer.Argument(metavar="sign|seal", help="What the key is for.")],
    out: Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="Where to write it; must not exist yet.")],
) -> int:
    """Make a key file that only its owner can read; for sign also the public key, as FILE.pub."""
    from ..hashset.keys import KeyKind, generate

    try:
        wanted = KeyKind(kind)
    except ValueError:
        raise UsageError(f"a key is made for 'sign' or 'seal', not for {shown(kind)!r}") from None
    public = generate(wanted, out)
    output.say(f"wrote a {wanted} key to {shown(out)}; keep it secret, and keep a copy of it in a safe place")
    if public is not None:
        output.say(f"wrote its public key to {shown(out)}.pub, for --require-signature: {public}")
    return 0
