"""Indexes of the Sleuth Kit (``-md5.idx``, ``-sha1.idx``): lines ``HEX|OFFSET``, sorted, behind two header lines.

The keys of the header are 41 digits long, so that they can be no digest: ``0...0|TYPE`` and ``0...1|NAME``. Offsets
lead into the list the index was made from and mean nothing here. The ``.idx2`` beside it holds no digests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hashsieve.errors import ListCutShortError, ListFormatError, shown
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.lines import line_end, split_lines
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.taking import RowTaker
from hashsieve.model import DigestKind

__all__ = ["TSK_INDEX", "TskIndex"]

_HEADER = re.compile(rb"0{40}0\|([^\r\n]{1,100})[\r\n]")
_ROW = re.compile(rb"([0-9A-Fa-f]{32}|[0-9A-Fa-f]{40})\|(\d{16})")
_KINDS = {32: DigestKind.MD5, 40: DigestKind.SHA1}


class TskIndex:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("tsk-index", "Sleuth Kit index .idx: HEX|offset", "hfind -i of the Sleuth Kit")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """The first line is the header of an index."""
        return "begins with the header of a Sleuth Kit index" if _HEADER.match(sample) else None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        sample = decode_sample(source.sample())
        found = _HEADER.match(sample)
        if found is None:
            raise ListFormatError("line 1 is not the header of a Sleuth Kit index")
        job.report.detail = f"Sleuth Kit index of a list of the type {shown(found[1])}"
        taker = RowTaker(job)
        for number, lines, ended in split_lines(source.chunks(), line_end(sample)):
            batch = []
            for at, line in enumerate(lines, number):
                row = _ROW.fullmatch(line)
                if row is None:
                    if not line.startswith(b"0" * 40) and line.strip():
                        if not ended:
                            raise ListCutShortError(f"the last line, {at}, has no end and is not whole")
                        job.report.refuse(f"line {at}", "not-a-row", line)
                    continue
                record = taker.record(f"line {at}", line, [(_KINDS[len(row[1])], row[1])])
                if record is not None:
                    batch.append(record)
            yield batch


TSK_INDEX = TskIndex()
