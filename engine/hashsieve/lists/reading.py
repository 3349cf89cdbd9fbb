"""Reading a list from a path: which reader, which role, and the rules that make a list fail as a whole.

The rules, checked when the last row was read, in this order: under ``strict`` no row may be refused; else not more than
:data:`REFUSED_ROWS` rows and :data:`REFUSED_PERCENT` percent of all; and at least one record must have been taken.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TypeVar

from hashsieve.errors import (
    ListCutShortError,
    ListEmptyError,
    ListError,
    ListFormatError,
    ListRefusedError,
    Path,
    UsageError,
    shown,
)
from hashsieve.lists.clamav import CLAMAV
from hashsieve.lists.contract import (
    BY_CATEGORY,
    Batch,
    BinaryReader,
    Detection,
    FormatInfo,
    Job,
    ListOptions,
    ListReport,
    Reader,
    RoleReader,
)
from hashsieve.lists.csv_table import CSV
from hashsieve.lists.dfxml import DFXML
from hashsieve.lists.digest_lines import DIGEST_LINES
from hashsieve.lists.encase import ENCASE
from hashsieve.lists.hashdeep import HASHDEEP
from hashsieve.lists.hashkeeper import HASHKEEPER
from hashsieve.lists.hashlookup import HASHLOOKUP
from hashsieve.lists.icse import ICSE
from hashsieve.lists.ilook import ILOOK
from hashsieve.lists.ioc_lines import IOC_LINES
from hashsieve.lists.misp_csv import MISP_CSV
from hashsieve.lists.misp_json import MISP_JSON
from hashsieve.lists.ncmec import NCMEC
from hashsieve.lists.never import refuse_binary, refuse_text
from hashsieve.lists.nsrl_delta import NSRL_DELTA
from hashsieve.lists.nsrl_sqlite import NSRL_SQLITE
from hashsieve.lists.nsrl_text import NSRL_TEXT
from hashsieve.lists.profiles import named_profile
from hashsieve.lists.rhash import RHASH
from hashsieve.lists.signal_lines import SIGNAL_LINES
from hashsieve.lists.signals_json import SIGNALS_JSON
from hashsieve.lists.source import SAMPLE_BYTES, Source, decode_sample
from hashsieve.lists.stix import STIX
from hashsieve.lists.tsk_index import TSK_INDEX
from hashsieve.lists.tsk_kdb import TSK_KDB
from hashsieve.lists.vics import VICS
from hashsieve.lists.wazuh_cdb import WAZUH_CDB
from hashsieve.lists.wrappers import STREAMS, wrapper_of, zip_beginning
from hashsieve.model import DigestKind, Record, Role

__all__ = ["FORMATS", "ListRead", "detect", "read_list"]

REFUSED_ROWS = 10
REFUSED_PERCENT = 1

_PROBLEMS_SHOWN = 5

# In the order of detection: formats with a marker of their own first, the one recognised by the shape of rows last.
_READERS: tuple[Reader, ...] = (
    VICS,
    NCMEC,
    DFXML,
    STIX,
    MISP_JSON,
    SIGNALS_JSON,
    HASHLOOKUP,
    HASHDEEP,
    NSRL_TEXT,
    NSRL_SQLITE,
    NSRL_DELTA,
    ICSE,
    ILOOK,
    HASHKEEPER,
    MISP_CSV,
    TSK_INDEX,
    TSK_KDB,
    ENCASE,
    CLAMAV,
    WAZUH_CDB,
    IOC_LINES,
    SIGNAL_LINES,
    RHASH,
    CSV,
    DIGEST_LINES,
)

FORMATS: tuple[FormatInfo, ...] = tuple(reader.info for reader in _READERS)
"""The formats that can be read, in the order they are looked for."""


class ListRead:
    """One reading of one list: iterate it once for the records; ``report`` is complete when the iteration has ended.

    Records come while the file is read, so they count only if the iteration ends without an exception. Not to be used
    from two threads at once.
    """

    def __init__(self, parts: Sequence[tuple[Source, Reader]], job: Job) -> None:
        self._parts = parts
        self._job = job
        self._started = False

    @property
    def report(self) -> ListReport:
        """What was taken, refused and dropped so far."""
        return self._job.report

    def __iter__(self) -> Iterator[Record]:
        """The records in the order of the list.

        Raises :class:`ListError` and its subclasses, with the path, where the list cannot be read to its end or too
        little of it is good; :class:`UsageError` on a second iteration.
        """
        return itertools.chain.from_iterable(self.batches())

    def batches(self) -> Iterator[Batch]:
        """The same records in batches of bounded size, lists of records or packed rows; raises as ``__iter__`` does."""
        if self._started:
            raise UsageError("a list is read once; call read_list again")
        self._started = True
        return self._batches()

    def _batches(self) -> Iterator[Batch]:
        report = self._job.report
        for source, reader in self._parts:
            report.member = source.member
            try:
                for batch in reader.read(source, self._job):
                    report.taken += len(batch)
                    yield batch
            except ListError as error:
                raise _placed(error, source) from error
        _check(report, strict=self._job.options.strict)


def read_list(path: Path, options: ListOptions | None = None) -> ListRead:
    """The list at *path*, ready to be iterated. Only its beginning is read here.

    Raises :class:`UsageError` for options that are wrong or missing, :class:`ListEmptyError` for an empty file,
    :class:`ListFormatError` if no reader recognises the content, and :class:`ListError` if the file cannot be read.
    """
    options = _checked(options or ListOptions())
    source = Source(path)
    report = ListReport(path=shown(path), format="", role="", source=options.source or source.name)
    try:
        parts = _parts(source, options, report)
    except ListError as error:
        raise _placed(error, source) from error
    reader = parts[0][1]
    report.format = reader.info.name
    roles = {_role(reader, part, options) for part, _ in parts}
    if len(roles) > 1:
        raise UsageError(
            f"{report.path}: holds lists that mean different things ({', '.join(map(str, roles))}); unpack it first"
        )
    role = roles.pop()
    report.role = BY_CATEGORY if reader.graded or role is None else str(role)
    return ListRead(parts, Job(replace(options, role=role), report.source, report))


def detect(sample: bytes, name: str) -> Detection:
    """The format of a list of the base name *name* that begins with *sample* (64 KiB, or the whole of a shorter file).

    The rule: packed samples are unpacked as far as they go. Formats that are no text are told by their first bytes. Of
    text, decoded by its byte order mark or, where every other byte is zero, as UTF-16, the first of these that holds,
    in the order of :data:`FORMATS`: a format with a marker of its own (a header line, a member name, a signature) is
    told by the marker; one that shows only in the shape of its rows by at least half of all rows in the sample having
    that shape. One odd row, first or not, decides nothing. Raises :class:`ListFormatError` for text in UTF-32, and for
    content that is recognised and never read, with the reason.
    """
    if not sample:
        return Detection(None, "the file is empty")
    source = Source(name, opener=lambda: contextlib.nullcontext((iter((sample,)), len(sample))))
    wrapper = wrapper_of(sample)
    packed = ""
    if wrapper in STREAMS:
        packed = f"{wrapper}; "
        sample = _beginning(source)
        wrapper = wrapper_of(sample)
    inner_name = source.inner_name
    if wrapper == "zip":
        packed += "zip; "
        try:
            reader = _parts(source, ListOptions(), ListReport("", "", "", ""))[0][1]
        except ListCutShortError:
            inner_name, sample = zip_beginning(sample, SAMPLE_BYTES)
        except ListError as error:
            return Detection(None, f"{packed}{error}")
        else:
            return Detection(reader.info.name, f"{packed}a member of the format {reader.info.name}")
    elif wrapper is not None:
        return Detection(None, f"the file is packed ({wrapper}); unpack it first")
    found = _recognised(sample, inner_name)
    if found is None:
        return Detection(None, f"{packed}the content is of no known format")
    return Detection(found[0].info.name, packed + found[1])


def _beginning(source: Source) -> bytes:
    """What the packed beginning of a file unpacks to, though it ends early."""
    content = b""
    try:
        for chunk in source.raw_chunks():
            content += chunk
            if len(content) >= SAMPLE_BYTES:
                break
    except ListCutShortError:
        pass
    return content[:SAMPLE_BYTES]


def _recognised(sample: bytes, name: str) -> tuple[Reader, str] | None:
    """The reader for an unpacked *sample*, and why."""
    for reader in _READERS:
        if isinstance(reader, BinaryReader):
            why = reader.recognise_binary(sample, name)
            if why is not None:
                return reader, why
    refuse_binary(sample, name)
    text = decode_sample(sample)
    refuse_text(text, name)
    for reader in _READERS:
        if not isinstance(reader, BinaryReader):
            why = reader.recognise(text, name)
            if why is not None:
                return reader, why
    return None


def _parts(source: Source, options: ListOptions, report: ListReport) -> list[tuple[Source, Reader]]:
    """What is to be read: the file, or those members of an archive that are lists.

    An archive holds more than lists: read-me texts, and digests of the release files. So only members of one format
    are read, the most telling there is, and the others are counted.
    """
    sample = source.sample()
    if not sample:
        raise ListEmptyError("the file is empty")
    members = source.members()
    if members is None:
        return [(source, _reader_for(source, sample, options))]
    if options.format is not None and len(members) == 1:
        return [(members[0], _named_reader(options.format))]
    found: list[tuple[Source, Reader]] = []
    whys = []
    for member in members:
        try:
            content = member.sample()
            recognised = _recognised(content, member.inner_name) if content else None
        except ListFormatError as error:
            whys.append(str(error))
            continue
        if recognised is not None and options.format in (None, recognised[0].info.name):
            found.append((member, recognised[0]))
    if not found:
        wanted = f"a {options.format} list" if options.format else "a list of a known format"
        why = f": {whys[0]}" if whys else ""
        raise ListFormatError(f"none of the {len(members)} members of the zip archive is {wanted}{why}")
    best = min((reader for _, reader in found), key=_READERS.index)
    parts = [(member, reader) for member, reader in found if reader is best]
    if len(members) > len(parts):
        report.drop("other-member", len(members) - len(parts))
    return parts


def _reader_for(source: Source, sample: bytes, options: ListOptions) -> Reader:
    """The reader that was asked for or recognises the content."""
    wrapper = wrapper_of(sample)
    if wrapper is not None:
        raise ListFormatError(f"the file is packed ({wrapper}); unpack it first")
    if options.format is not None:
        return _named_reader(options.format)
    if options.columns is not None:
        return _named_reader(CSV.info.name)
    found = _recognised(sample, source.inner_name)
    if found is None:
        known = ", ".join(info.name for info in FORMATS)
        raise ListFormatError(f"the content is of no known format; name the format with --format ({known})")
    return found[0]


def _checked(options: ListOptions) -> ListOptions:
    """*options* with names turned into members. Raises :class:`UsageError` that lists what is known."""
    if options.format is not None:
        _named_reader(options.format)
    if options.profile is not None:
        named_profile(options.profile)
    role = None if options.role is None else _member(Role, options.role, "role")
    digest = None if options.digest is None else _member(DigestKind, options.digest, "kind of digest")
    return replace(options, role=role, digest=digest)


_Member = TypeVar("_Member", bound=StrEnum)


def _member(members: type[_Member], value: str, what: str) -> _Member:
    """The member of *members* called *value*."""
    try:
        return members(value)
    except ValueError:
        raise UsageError(f"no {what} is called {value!r}; known: {', '.join(members)}") from None


def _named_reader(name: str) -> Reader:
    """The reader of the format called *name*."""
    for reader in _READERS:
        if reader.info.name == name:
            return reader
    raise UsageError(f"no list format is called {name!r}; known: {', '.join(info.name for info in FORMATS)}")


def _role(reader: Reader, source: Source, options: ListOptions) -> Role | None:
    """The role the records of *source* get. Raises :class:`UsageError` if it is missing or cannot be given."""
    path, role, name = shown(source.path), options.role, reader.info.name
    if reader.graded or (options.profile is not None and "category" in (options.columns or {})):
        if role in (Role.TRUSTED, Role.TEST):
            raise UsageError(
                f"{path}: {name} lists are graded by category; --role may only lower, to known-good or undecided"
            )
        return role
    if isinstance(reader, RoleReader):
        own = reader.own_role(source.inner_name)
        if own is not None and role not in (None, own, Role.UNDECIDED, Role.KNOWN_GOOD):
            raise UsageError(
                f"{path}: this {name} list means {own} by itself; --role may only lower it, to undecided or known-good"
            )
        role = own if role is None else role
    if role is None:
        raise UsageError(f"{path}: a {name} list does not say what it means; give --role ({', '.join(Role)})")
    return role


def _check(report: ListReport, *, strict: bool) -> None:
    """Raise if too many rows were refused or nothing was taken. See the text of the module for the rules."""
    refused_count = sum(report.refused.values())
    rows_count = report.taken + refused_count
    facts = f"{refused_count} of {rows_count} rows refused{_counts(report.refused)}"
    first = "".join(f"; {problem}" for problem in report.problems[:_PROBLEMS_SHOWN])
    if strict and refused_count:
        raise ListRefusedError(f"{report.path}: {facts}, and strict allows none{first}")
    if refused_count > REFUSED_ROWS and 100 * refused_count > REFUSED_PERCENT * rows_count:
        rule = f"more than {REFUSED_ROWS} rows and more than {REFUSED_PERCENT} %"
        raise ListRefusedError(f"{report.path}: {facts}, which is {rule}{first}")
    if not report.taken:
        dropped = f", dropped{_counts(report.dropped)}" if report.dropped else ""
        raise ListEmptyError(f"{report.path}: no entry in the list: {facts}{dropped}{first}")


def _counts(counts: dict[str, int]) -> str:
    """*counts* in brackets, the largest first; nothing if there are none."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return f" ({', '.join(f'{reason} {count}' for reason, count in ordered)})" if ordered else ""


def _placed(error: ListError, source: Source) -> ListError:
    """*error* with the path and the member in its text, unless the path is there already."""
    text, path = str(error), shown(source.path)
    if text.startswith(path):
        return error
    return type(error)(f"{path}: {source.member}: {text}" if source.member else f"{path}: {text}")
