"""Which lists does the demo bundle? Writes them into ``engine/hashsieve/cli/samples``.

All digests are those of made-up texts, so the lists are harmless. Each of the three names the text the demo plants. The
output depends on nothing but this file; run it again after a change and commit what it wrote::

    python bench/make_samples.py [DIRECTORY]
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

PLANTED = b"hashsieve demo: this harmless text stands in for a listed file.\n"
PLANTED_AT = 7
VICS_RECORDS = 20
TEXT_ROWS = 12
SAMPLES = Path(__file__).resolve().parent.parent / "engine" / "hashsieve" / "cli" / "samples"


def text(number: int) -> bytes:
    """The made-up text with *number*; one of them is the planted one."""
    return PLANTED if number == PLANTED_AT else b"hashsieve sample text number %d\n" % number


def vics_us() -> str:
    """A VICS 2.0 hash set of the US profile, with all categories from 0 to 5."""
    media = [
        {
            "MediaID": 1000 + number,
            "Category": 1 if number == PLANTED_AT else number % 6,
            "MD5": hashlib.md5(text(number)).hexdigest().upper(),
            "SHA1": hashlib.sha1(text(number)).hexdigest().upper(),
            "MediaSize": len(text(number)),
            "DateUpdated": "2026-01-02T03:04:05.6789000Z",
            "IsPrecategorized": "false",
        }
        for number in range(VICS_RECORDS)
    ]
    marker = "http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/US/$metadata#Media"
    return json.dumps({"@odata.context": marker, "value": media}, indent=2) + "\n"


def hashdeep() -> str:
    """A hashdeep list with two kinds of digest."""
    head = "%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## made-up texts, written by bench/make_samples.py\n"
    return head + "".join(
        f"{len(data)},{hashlib.md5(data).hexdigest()},{hashlib.sha256(data).hexdigest()},./text-{number}.txt\n"
        for number, data in ((number, text(number)) for number in range(TEXT_ROWS))
    )


def md5sum() -> str:
    """A list as md5sum writes it."""
    return "".join(f"{hashlib.md5(text(number)).hexdigest()}  text-{number}.txt\n" for number in range(TEXT_ROWS))


def main() -> None:
    """Write the three lists."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in (("vics-us.json", vics_us()), ("hashdeep.txt", hashdeep()), ("md5sum.txt", md5sum())):
        (directory / name).write_bytes(content.encode("ascii"))
        print(directory / name)


if __name__ == "__main__":
    main()
