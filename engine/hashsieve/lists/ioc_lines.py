"""Digest and comment with a semicolon between them, as Loki and signature-base have them: ``HEX;comment``.

Kinds are mixed and told by their length; 64 digits are SHA-256 unless ``--digest`` says otherwise. Lines that begin
with ``#`` are comments, and comments behind the digest are dropped unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.keyed_lines import keyed_records, share_of_rows
from hashsieve.lists.source import Source
from hashsieve.lists.tables import plain_name, sample_lines
from hashsieve.lists.taking import kind_called
from hashsieve.model import DigestKind

__all__ = ["IOC_LINES", "IocLines"]

_ROW = re.compile(rb"(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{32}) ?;(?! ?[0-9A-Fa-f]{32})")


class IocLines:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("ioc-lines", "HEX;comment, kinds mixed and told by length", "Loki, THOR, signature-base")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """At least half of the rows are a digest, a semicolon and no other digest, and the first names no columns."""
        rows_only = (line for line in sample_lines(sample) if line.strip() and not line.lstrip().startswith("#"))
        head = next(rows_only, "").partition(";")[0]
        if kind_called(head) is not None or plain_name(head) in ("hash", "filehash", "digest", "indicator"):
            return None
        shaped, rows = share_of_rows(sample, _ROW)
        if not shaped or 2 * shaped < rows:
            return None
        return f"{shaped} of the first {rows} rows are a digest and a comment behind a semicolon"

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        yield from keyed_records(source, job, b";", default=DigestKind.SHA256)


IOC_LINES = IocLines()
