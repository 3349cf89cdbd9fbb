"""Lists written by the real tools over a tree with nasty names, read back exactly."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import blake3
import pytest
from list_files import read, write

from hashsieve.errors import ListError
from hashsieve.lists import ListOptions
from hashsieve.model import DigestKind, Role

NAMES = [
    b"plain", b"back\\slash", b"new\nline", b"two\n\nlines", b"carriage\rreturn", b"*star", b" leading", b"trailing ",
    b"two  blanks", b"a) = d41d8cd98f00b204e9800998ecf8427e", b"d41d8cd98f00b204e9800998ecf8427e", b"#hash",
    b"\xff\xfe", b"literal\\n", b"%%%% HASHDEEP-1.0", b"MD5 (x", b"paren(", b"tab\tname", b"comma, name",
    b"semi;colon", b"co:lon",
    b'quo"te', b"apostro'phe", b"pi|pe", b"\xe6\x97\xa5\xe6\x9c\xac", b"per%cent", b"am&per=sand", b"0123",
    b"equals = x",
]  # fmt: skip
KINDS = {"md5": hashlib.md5, "sha1": hashlib.sha1, "sha256": hashlib.sha256, "blake3": blake3.blake3}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of its own content for each name, and one of the empty file."""
    folder = tmp_path_factory.mktemp("tree")
    for number, name in enumerate(NAMES):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(b"content %d" % number)
    (folder / "empty").touch()
    return folder


def contents() -> list[bytes]:
    return [b"content %d" % number for number in range(len(NAMES))]


@dataclass(frozen=True)
class Tool:
    """A command that lists the tree, how its list is read, and what it should give."""

    command: list[str]
    kinds: tuple[str, ...]
    digest: str | None = None
    name: str = "list"
    role: Role | None = Role.KNOWN_BAD
    format: str = "digest-lines"
    sizes: bool = False
    names: Callable[[bytes], bool] = lambda name: True
    refused: int = 0


def no_line_end(name: bytes) -> bool:
    return b"\n" not in name


def no_backslash(name: bytes) -> bool:
    """rhash takes it for the end of a folder's name everywhere."""
    return b"\\" not in name


TOOLS = {
    "md5deep": Tool(["md5deep", "-r"], ("md5",)),
    "md5deep relative": Tool(["md5deep", "-r", "-l"], ("md5",)),
    "md5deep size": Tool(["md5deep", "-r", "-z"], ("md5",), sizes=True),
    "md5deep csv": Tool(["md5deep", "-r", "-c"], ("md5",)),
    "md5deep zero": Tool(["md5deep", "-r", "-0"], ("md5",)),
    "md5deep asterisk": Tool(["md5deep", "-r", "-k"], ("md5",)),
    "md5deep time": Tool(["md5deep", "-r", "-t"], ("md5",)),
    "md5deep no names": Tool(["md5deep", "-r", "-q"], ("md5",)),
    "sha1deep": Tool(["sha1deep", "-r"], ("sha1",)),
    "sha256deep": Tool(["sha256deep", "-r"], ("sha256",), digest="sha256"),
    "hashdeep": Tool(["hashdeep", "-r"], ("md5", "sha256"), format="hashdeep", sizes=True),
    "hashdeep all": Tool(
        ["hashdeep", "-r", "-l", "-c", "md5,sha1,sha256,tiger,whirlpool"], ("md5", "sha1", "sha256"), format="hashdeep",
        sizes=True,
    ),
    "md5sum": Tool(["md5sum"], ("md5",)),
    "sha256sum tag": Tool(["sha256sum", "--tag"], ("sha256",)),
    "cksum untagged": Tool(["cksum", "-a", "sha1", "--untagged"], ("sha1",)),
    "b3sum": Tool(["b3sum"], ("blake3",), digest="blake3"),
    "b3sum no names": Tool(["b3sum", "--no-names"], ("blake3",), digest="blake3"),
    # Without a folder in the name nothing tells the rest of a name from any other odd line.
    "rhash md5": Tool(["rhash", "--md5"], ("md5",), names=no_backslash, refused=2),
    "rhash two": Tool(["rhash", "--md5", "--sha1"], ("md5", "sha1"), format="rhash", names=no_backslash),
    "rhash three": Tool(
        ["rhash", "--md5", "--sha1", "--sha256"], ("md5", "sha1", "sha256"), "sha256", format="rhash",
        names=no_backslash,
    ),
    "rhash bsd": Tool(["rhash", "--bsd", "--md5", "--sha256"], ("md5", "sha256"), names=no_backslash),
    "rhash magnet": Tool(
        ["rhash", "--magnet", "--md5", "--sha1"], ("md5", "sha1"), format="rhash", sizes=True, names=no_backslash
    ),
    "rhash base32": Tool(["rhash", "--sha1", "--base32"], ("sha1",), "sha1", names=no_backslash, refused=2),
    "rhash base64": Tool(["rhash", "--sha256", "--base64"], ("sha256",), "sha256", names=no_backslash, refused=2),
    "sigtool md5": Tool(["sigtool", "--md5"], ("md5",), name="x.hdb", role=None, format="clamav", sizes=True),
    "sigtool sha256": Tool(["sigtool", "--sha256"], ("sha256",), name="x.hsb", role=None, format="clamav", sizes=True),
    "openssl": Tool(["openssl", "dgst", "-sha256"], ("sha256",), names=no_line_end),
}  # fmt: skip


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_what_a_tool_lists_is_read_back_exactly(tmp_path: Path, tree: Path, tool: Tool) -> None:
    if shutil.which(tool.command[0]) is None:
        pytest.skip(f"{tool.command[0]} is not installed")
    names = [name for name in [*NAMES, b"empty"] if tool.names(name)]
    recursive = "-r" in tool.command
    arguments: list[str | bytes] = ["."] if recursive else [b"./" + name for name in names]
    done = subprocess.run(
        [*tool.command, *arguments], cwd=tree, capture_output=True, check=False, timeout=60,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.stdout, done.stderr
    options = ListOptions(role=tool.role, digest=DigestKind(tool.digest) if tool.digest else None)
    records, report = read(write(tmp_path / tool.name, done.stdout), options)
    listed = [content for content, name in zip(contents(), NAMES, strict=True) if tool.names(name)]
    wanted = {kind: sorted(KINDS[kind](content).hexdigest() for content in listed) for kind in tool.kinds}
    got = {
        kind: sorted(record.digests[kind].hex() for record in records if kind in record.digests) for kind in tool.kinds
    }
    assert got == wanted
    assert report.format == tool.format
    assert sum(report.refused.values()) == tool.refused
    assert report.dropped["empty-file"] == len(tool.kinds)
    if tool.sizes:
        sizes = {next(iter(record.digests.values())): record.size_bytes for record in records}
        kind = next(iter(records[0].digests))
        assert sizes == {KINDS[kind](content).digest(): len(content) for content in listed}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["cksum"], "unsupported-kind|no known format"),
        (["b2sum"], "unsupported-kind"),
        (["sha512sum"], "unsupported-kind"),
        (["sha224sum", "--tag"], "unsupported-kind"),
        (["xxhsum", "-H1"], "unsupported-kind|no known format"),
        (["rhash", "--sfv"], "CRC-32"),
        (["rhash", "--crc32"], "CRC-32|unsupported-kind|no known format"),
        (["sum"], "unsupported-kind"),
    ],
    ids=lambda value: value[0] + "".join(value[1:]) if isinstance(value, list) else "",
)
def test_what_a_tool_lists_by_other_digests_is_refused_with_the_reason(
    tmp_path: Path, tree: Path, command: list[str], why: str
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    names = [b"./" + name for name in NAMES if no_line_end(name)]
    done = subprocess.run([*command, *names], cwd=tree, capture_output=True, check=False, timeout=60)
    with pytest.raises(ListError, match=why):
        read(write(tmp_path / "list", done.stdout))


def test_indexes_and_databases_of_the_sleuth_kit_hold_what_their_list_held(tmp_path: Path) -> None:
    if shutil.which("hfind") is None:
        pytest.skip("hfind of the Sleuth Kit is not installed")
    lines = "".join(f"{hashlib.md5(content).hexdigest()}  name\n" for content in contents())
    write(tmp_path / "list.txt", lines)
    subprocess.run(["hfind", "-i", "md5sum", "list.txt"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    records, report = read(tmp_path / "list.txt-md5.idx")
    assert {record.digests["md5"] for record in records} == {hashlib.md5(content).digest() for content in contents()}
    assert (report.format, report.refused, len(records)) == ("tsk-index", {}, len(NAMES))
