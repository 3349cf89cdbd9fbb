"""Wazuh CDB lists in their text form: ``key:`` or ``key:value``, the key a digest, in quotes if somebody wanted them.

Kinds are told by length; for 64 digits ``--digest`` must say which kind they are. Values are dropped unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.keyed_lines import keyed_records, share_of_rows
from hashsieve.lists.source import Source

__all__ = ["WAZUH_CDB", "WazuhCdb"]

_ROW = re.compile(rb'"?(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{32})"?:(?! ?[0-9A-Fa-f]{32})')


class WazuhCdb:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("wazuh-cdb", "CDB list as text: key: or key:value", "Wazuh")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """At least half of the rows are a digest and a colon."""
        shaped, rows = share_of_rows(sample, _ROW)
        if not shaped or 2 * shaped < rows:
            return None
        return f"{shaped} of the first {rows} rows are a digest as the key of a CDB list"

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        yield from keyed_records(source, job, b":")


WAZUH_CDB = WazuhCdb()
