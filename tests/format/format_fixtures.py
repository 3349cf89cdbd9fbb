"""A small list of every text and simple binary format, written by hand, with the records it stands for."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from list_files import BAD, md5, sha1, sha256

from hashsieve.lists import ListOptions
from hashsieve.model import DigestKind, Listing, Record, Role

PLAIN = ListOptions()
SHA256 = ListOptions(role=Role.KNOWN_BAD, digest=DigestKind.SHA256)


@dataclass(frozen=True)
class Fixture:
    """A list: its file name, content, the options it is read with, and the rows it gives, in order.

    A row is its digests by kind, then what it has beside them: ``size``, ``role``, ``category``, ``ref``.
    """

    format: str
    name: str
    content: bytes
    rows: list[dict[str, object]]
    options: ListOptions = BAD
    refused: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    text: bool = True

    def records(self) -> list[Record]:
        """The rows as records."""
        made = []
        for row in self.rows:
            digests = {kind: bytes.fromhex(str(row[kind])) for kind in DigestKind if kind in row}
            role = row.get("role", self.options.role)
            listing = Listing(self.name, role, row.get("category"), row.get("ref"))  # type: ignore[arg-type]
            made.append(Record(digests, row.get("size"), listing))  # type: ignore[arg-type]
        return made


def _lines(*lines: str) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
NSRL2 = '"SHA-1","MD5","CRC32","FileName","FileSize","ProductCode","OpSystemCode","SpecialCode"'
NSRL15 = '"SHA-1","FileName","FileSize","ProductCode","OpSystemCode","MD4","MD5","CRC32","SpecialCode"'
ICSE_HEAD = (
    "MD5;SHA1;PhotoDNA;Image ID;Is distributed;Victim identified;Offender identified;Series name;"
    "Number of submissions;File Available;Media Type;Baseline"
)
ENCASE = (
    b"HASH\r\n\xff\0" + struct.pack("<III", 2, 0, 4) + bytes(1032 - 20) + "set".encode("utf-16-le").ljust(120, b"\0")
    + b"".join(bytes.fromhex(each) + b"\0\0" for each in (md5(2), md5(1), EMPTY_MD5, md5(2)))
)  # fmt: skip

FIXTURES = [
    Fixture(
        "nsrl-text", "NSRLFile.txt",
        _lines(
            NSRL2,
            f'"{sha1(1).upper()}","{md5(1).upper()}","00000000","a.txt",500,1,"WIN",""',
            f'"{sha1(2).upper()}","{md5(2).upper()}","00000000","com,ma "quoted".txt",70000,1,WIN,""',
            f'"DA39A3EE5E6B4B0D3255BFEF95601890AFD80709","{EMPTY_MD5.upper()}","00000000","empty",0,1,"WIN",""',
        ),
        [{"sha1": sha1(1), "md5": md5(1), "size": 500}, {"sha1": sha1(2), "md5": md5(2), "size": 70000}],
        ListOptions(role=None), dropped={"unsupported-kind": 3, "empty-file": 2},
    ),
    Fixture(
        "nsrl-text", "NSRLFile15.txt",
        _lines(
            NSRL15,
            f'"{sha1(1)}","a, b.txt",500,1,"WIN","{"0" * 32}","{md5(1)}","00000000",""',
            f'"{sha1(3)}","m",7,1,"WIN","{"0" * 32}","{md5(3)}","00000000","M"',
            f'"{sha1(2)}","b",0,1,"WIN","{"0" * 32}","{md5(2)}","00000000","S"',
        ),
        [
            {"sha1": sha1(1), "md5": md5(1), "size": 500},
            {"sha1": sha1(3), "md5": md5(3), "size": 7, "role": Role.UNDECIDED, "category": "M"},
            {"sha1": sha1(2), "md5": md5(2), "category": "S"},
        ],
        ListOptions(role=None), dropped={"unsupported-kind": 6},
    ),
    Fixture(
        "icse", "icse.csv",
        _lines(
            ICSE_HEAD,
            f"{md5(1)};{sha1(1)};{'ab' * 144};100;true;Y;n;some; series;2;1;image;yes",
            f"{md5(2)};{sha1(2)};;101;false;N;n;;2;1;image;TRUE;more;cells",
            f"{md5(4)};;;103",
            f"{md5(3)};;;102;t;N;n;;2;1;image;No",
        ),
        [
            {"md5": md5(1), "sha1": sha1(1), "role": Role.KNOWN_BAD, "category": "baseline", "ref": "100"},
            {"md5": md5(2), "sha1": sha1(2), "role": Role.KNOWN_BAD, "category": "baseline", "ref": "101"},
            {"md5": md5(4), "role": Role.UNDECIDED, "category": "unstated", "ref": "103"},
            {"md5": md5(3), "role": Role.UNDECIDED, "category": "not-baseline", "ref": "102"},
        ],
        PLAIN, dropped={"similarity": 1},
    ),
    Fixture(
        "ilook", "one.hsh",
        _lines(
            "V1Hash,HashType,SetDescription,FileName,FilePath,FileSize",
            f"{md5(1).upper()},MD5,a, set,name,C:\\x,12", f"{md5(2).upper()},MD5,,n,,",
        ),
        [{"md5": md5(1), "size": 12}, {"md5": md5(2)}],
    ),
    Fixture(
        "ilook", "three.hsh",
        _lines(
            "V3Hash,HashSHA1,FileName,FilePath,FileSize,HashSHA256,HashSHA384,HashSHA512",
            f"{md5(1).upper()},{sha1(1).upper()},n,a,m,e,C:\\x,12,{sha256(1)},,",
            f"{md5(2).upper()},,name,C:\\,13,,,",
        ),
        [{"md5": md5(1), "sha1": sha1(1), "sha256": sha256(1), "size": 12}, {"md5": md5(2), "size": 13}],
        dropped={"unsupported-kind": 4},
    ),
    Fixture(
        "ilook", "four.hsh",
        _lines(
            "V4Hash,HashSHA1,FileName,FilePath,FileSize,HashSHA256,HashSHA384,HashSHA512,CreateTime,ModTime,"
            "LastAccessTime",
            f"{md5(1).upper()},{sha1(1).upper()},n,D:\\,99,,,,16.4.2008 14:29:24,16.4.2008 10:24:28,18.4.2008",
        ),
        [{"md5": md5(1), "sha1": sha1(1), "size": 99}],
        dropped={"unsupported-kind": 2},
    ),
    Fixture(
        "hashkeeper", "Z0001.hsh",
        _lines(
            '"file_id","hashset_id","file_name","directory","hash","file_size","date_modified","time_modified",'
            '"time_zone","comments","date_accessed","time_accessed"',
            f'4151044,671,"a,b ""c"".pdb",,"{md5(1).upper()}",91136,,,,,,',
            f'4151045,671,"x","d","{md5(2).upper()}",,,,,,,',
        ),
        [{"md5": md5(1), "size": 91136, "ref": "4151044"}, {"md5": md5(2), "ref": "4151045"}],
    ),
    Fixture(
        "misp-csv", "misp.csv",
        _lines(
            "uuid,event_id,category,type,value,comment,to_ids,date",
            f'"u-1",1,"Payload delivery","md5","{md5(1)}","a, b",1,17672',
            f'"u-2",1,"Payload delivery","filename|sha256","a|b.txt|{sha256(1)}","",1,17672',
            f'"u-3",1,"Payload delivery","sha1","{sha1(3)}","not for detection",0,17672',
            '"u-4",1,"Network activity","domain","example.org","",1,17672',
            f'"u-5",1,"Payload delivery","malware-sample","x.exe|{md5(5)}","",1,17672',
            '"u-6",1,"Payload delivery","ssdeep","3:abc:def","",1,17672',
            f'"u-7",1,"Payload delivery","sha512","{"ab" * 64}","",1,17672',
            f'"u-8",1,"Payload delivery","imphash","{md5(8)}","",1,17672',
        ),
        [{"md5": md5(1), "ref": "u-1"}, {"sha256": sha256(1), "ref": "u-2"}, {"md5": md5(5), "ref": "u-5"}],
        dropped={"not-for-detection": 1, "other-type": 1, "similarity": 1, "unsupported-kind": 2},
    ),
    Fixture(
        "tsk-index", "list-md5.idx",
        _lines(
            "0" * 41 + "|nsrl", "0" * 40 + "1|list.txt",
            *(f"{each.upper()}|{5:016d}" for each in sorted(map(md5, (1, 2)))),
        ),
        [{"md5": each} for each in sorted(map(md5, (1, 2)))],
    ),
    Fixture(
        "tsk-index", "list-sha1.idx",
        _lines("0" * 41 + "|md5sum", "0" * 40 + "1|list.txt", f"{sha1(1).upper()}|{5:016d}"),
        [{"sha1": sha1(1)}],
    ),
    Fixture(
        "encase", "set.hash", ENCASE, [{"md5": md5(2)}, {"md5": md5(1)}, {"md5": md5(2)}],
        dropped={"empty-file": 1}, text=False,
    ),
    Fixture(
        "clamav", "main.hdb",
        _lines(
            "# comment", f"{md5(1)}:5:Win.Test-1", f"{md5(2)}:*:Test-2:73", f"{sha256(3)}:7:Test-3:10:20",
            f"{md5(4)}:8:a name: with", "a line feed in it", f"{EMPTY_MD5}:0:empty",
        ),
        [{"md5": md5(1), "size": 5}, {"md5": md5(2)}, {"sha256": sha256(3), "size": 7}, {"md5": md5(4), "size": 8}],
        ListOptions(role=None), dropped={"spilled-name": 1, "empty-file": 1},
    ),
    Fixture(
        "wazuh-cdb", "malware-hashes",
        _lines(f"{md5(1)}:", f"{md5(2)}:label", f'"{sha1(3)}":a label: more', f"{md5(1)}:"),
        [{"md5": md5(1)}, {"md5": md5(2)}, {"sha1": sha1(3)}, {"md5": md5(1)}],
    ),
    Fixture(
        "ioc-lines", "hash-iocs.txt",
        _lines(
            "# hashes", "# MD5;COMMENT", f"# {md5(9)};an example",
            f"{md5(1).upper()};a comment; http://example.org/", f"{sha1(2)};b", f"{sha256(3)};c, d", "",
            f"{md5(4)};",
        ),
        [{"md5": md5(1)}, {"sha1": sha1(2)}, {"sha256": sha256(3)}, {"md5": md5(4)}],
    ),
    Fixture(
        "signal-lines", "signals.txt",
        _lines(f"video_md5 {md5(1)}", f"pdq {sha256(9)}", f"video_md5 {md5(2).upper()}", "url http://example.org/"),
        [{"md5": md5(1)}, {"md5": md5(2)}],
        dropped={"similarity": 1, "other-type": 1},
    ),
    Fixture(
        "csv", "indicators.csv",
        _lines(
            '"MD5","SHA-1 Hash","file_sha256","ssdeep","FileName","File Size","Comment"',
            f'"{md5(1)}","{sha1(1)}","","","a","14","one',
            'two"',
            f'"{md5(2)}","N/A","{sha256(2)}","3:a:b","b ""x""","",""',
            f'"","","{sha256(3)}","","c, d","0",""',
        ),
        [
            {"md5": md5(1), "sha1": sha1(1), "size": 14}, {"md5": md5(2), "sha256": sha256(2)}, {"sha256": sha256(3)},
        ],
        dropped={"similarity": 1},
    ),
    Fixture(
        "csv", "types.tsv",
        _lines(
            "# exported", "Indicator type\tIndicator\tNote",
            f"FileHash-MD5\t{md5(1)}\t", f"FileHash-SHA256\t{sha256(2)}\t",
            f"FileHash-SHA1\t{sha1(3)}\tx", "IPv4\t192.0.2.1\t", f"FileHash-PEHASH\t{sha1(4)}\t",
        ),
        [{"md5": md5(1)}, {"sha256": sha256(2)}, {"sha1": sha1(3)}],
        dropped={"other-type": 1, "unsupported-kind": 1},
    ),
    Fixture(
        "csv", "commented.csv",
        _lines(
            "################", "# a feed", '# "first_seen","sha256_hash","md5_hash","sha1_hash"',
            f'"2026-11-25", "{sha256(1)}", "{md5(1)}", "{sha1(1)}"', "# Number of entries: 1",
        ),
        [{"sha256": sha256(1), "md5": md5(1), "sha1": sha1(1)}],
    ),
    Fixture(
        "csv", "no-header.csv",
        _lines(f"name one;{md5(1)};{sha1(1)}", f"name two;{md5(2)};{sha1(2)}"),
        [{"md5": md5(1), "sha1": sha1(1)}, {"md5": md5(2), "sha1": sha1(2)}],
    ),
    Fixture(
        "digest-lines", "md5deep-c.csv",
        _lines(f"{md5(1)},/a/b, c", f"{md5(2)},/new", "line", f"{md5(3)},/c"),
        [{"md5": md5(1)}, {"md5": md5(2)}, {"md5": md5(3)}], dropped={"spilled-name": 1},
    ),
    Fixture(
        "digest-lines", "md5deep-Z.txt",
        _lines(f"14\t{md5(8)}\t{md5(1)}\t/a", f"70000\t{md5(9)}\t{md5(2)}\t/b"),
        [{"md5": md5(1), "size": 14}, {"md5": md5(2), "size": 70000}],
    ),
    Fixture(
        "digest-lines", "openssl.txt",
        _lines(f"MD5(a)= {md5(1)}", f"SHA2-256(b)= {sha256(2)}"),
        [{"md5": md5(1)}, {"sha256": sha256(2)}],
    ),
]  # fmt: skip

OWN_ROLES = {"NSRLFile.txt": Role.KNOWN_GOOD, "NSRLFile15.txt": Role.KNOWN_GOOD, "main.hdb": Role.KNOWN_BAD}
"""Roles that lists have by themselves, by file name."""
