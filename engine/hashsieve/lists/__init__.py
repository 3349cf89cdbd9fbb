"""Hash lists as custodians hand them out, read into records: one reader per format, one contract.

Use::

    read = read_list("list.txt", ListOptions(role=Role.KNOWN_BAD))
    for record in read:      # streaming, memory bounded by a few MiB and one record
        ...
    read.report              # what was taken, what was refused and why; complete now

* :func:`read_list` finds the format, or takes the one in the options, and checks the options. The result is iterated
  once. Records count only if the iteration ends without an exception: a list that is cut short, or of which too much
  is bad, raises at its end, so nothing may be published before.
* :class:`ListReport` counts what was taken, refused (bad rows, by reason) and dropped (digests that no list may carry,
  such as those of the empty file). More than 10 refused rows that are more than 1 % of all refuse the list.
* :func:`detect` tells the format of a sample and why. :data:`FORMATS` lists the formats.

No reader keeps names of files or text about people or cases: a record holds digests, a size, and the custodian's
category and id. Readers work on bytes, raise only what is in ``hashsieve.errors``, and may be used from any thread,
one thread to a reading. A new format is one file with a reader (see ``contract.Reader``) and its line in
``reading.py``.
"""

from hashsieve.lists.contract import Batch, Detection, FormatInfo, ListOptions, ListReport, PackedRows, Problem
from hashsieve.lists.profiles import PROFILES
from hashsieve.lists.reading import FORMATS, ListRead, detect, read_list

__all__ = [
    "FORMATS",
    "PROFILES",
    "Batch",
    "Detection",
    "FormatInfo",
    "ListOptions",
    "ListRead",
    "ListReport",
    "PackedRows",
    "Problem",
    "detect",
    "read_list",
]
