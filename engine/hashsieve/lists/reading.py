"""Reading a list from a path: which reader, which role, and the rules that make a list fail as a whole.

The rules, checked when the last row was read, in this order: under ``strict`` no row may be refused; else not more than
:data:`REFUSED_ROWS` rows and :data:`REFUSED_PERCENT` percent of all; and at least one record must have been taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import TypeVar

from hashsieve.errors import ListEmptyError, ListError, ListFormatError, ListRefusedError, Path, UsageError, shown
from hashsieve.lists.contract import BY_CATEGORY, Batch, Detection, FormatInfo, Job, ListOptions, ListReport, Reader
from hashsieve.lists.digest_lines import DIGEST_LINES
from hashsieve.lists.hashdeep import HASHDEEP
from hashsieve.lists.profiles import named_profile
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.vics import VICS
from hashsieve.model import DigestKind, Record, Role

__all__ = ["FORMATS", "ListRead", "detect", "read_list"]

REFUSED_ROWS = 10
REFUSED_PERCENT = 1

_PROBLEMS_SHOWN = 5

# In the order of detection: formats with a marker of their own first, the one recognised by the shape of rows last.
_READERS: tuple[Reader, ...] = (VICS, HASHDEEP, DIGEST_LINES)

FORMATS: tuple[FormatInfo, ...] = tuple(reader.info for reader in _READERS)
"""The formats that can be read, in the order they are looked for."""

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"7z\xbc\xaf\x27\x1c": "7z",
}


class ListRead:
    """One reading of one list: iterate it once for the records; ``report`` is complete when the iteration has ended.

    Records come while the file is read, so they count only if the iteration ends without an exception. Not to be used
    from two threads at once.
    """

    def __init__(self, source: Source, reader: Reader, job: Job) -> None:
        self._source = source
        self._reader = reader
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
        try:
            for batch in self._reader.read(self._source, self._job):
                report.taken += len(batch)
                yield batch
        except ListError as error:
            raise _with_path(error, report.path) from error
        _check(report, strict=self._job.options.strict)


def read_list(path: Path, options: ListOptions | None = None) -> ListRead:
    """The list at *path*, ready to be iterated. Only its beginning is read here.

    Raises :class:`UsageError` for options that are wrong or missing, :class:`ListEmptyError` for an empty file,
    :class:`ListFormatError` if no reader recognises the content, and :class:`ListError` if the file cannot be read.
    """
    options = _checked(options or ListOptions())
    source = Source(path)
    reader = _reader_for(source, options)
    _check_role(reader, options, shown(path))
    report = ListReport(
        path=shown(path),
        format=reader.info.name,
        role=BY_CATEGORY if reader.graded else str(options.role),
        source=options.source or source.name,
    )
    return ListRead(source, reader, Job(options, report.source, report))


def detect(sample: bytes, name: str) -> Detection:
    """The format of a list of the base name *name* that begins with *sample* (64 KiB, or the whole of a shorter file).

    The rule: after decoding by the byte order mark, the first of these that holds. A JSON object with a VICS data
    model marker, or with a ``value`` array and media members, is ``vics``. A hashdeep header as the first line that is
    neither blank nor a comment is ``hashdeep``. If at least half of all rows in the sample have the shape of a digest
    line, it is ``digest-lines``. So is a text of nothing but blank and comment lines. One odd row, first or not,
    decides nothing. Raises :class:`ListFormatError` for text in UTF-32, and in UTF-16 without a byte order mark.
    """
    if not sample:
        return Detection(None, "the file is empty")
    wrapper = _wrapper(sample)
    if wrapper is not None:
        return Detection(None, f"the file is compressed ({wrapper}); unpack it first")
    text = decode_sample(sample)
    for reader in _READERS:
        why = reader.recognise(text, name)
        if why is not None:
            return Detection(reader.info.name, why)
    return Detection(None, "the content is of no known format")


def _wrapper(sample: bytes) -> str | None:
    """The name of the compression that *sample* begins with, or None."""
    return next((name for magic, name in _COMPRESSED.items() if sample.startswith(magic)), None)


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


def _reader_for(source: Source, options: ListOptions) -> Reader:
    """The reader that was asked for or recognises the content."""
    sample = source.sample()
    path = shown(source.path)
    if not sample:
        raise ListEmptyError(f"{path}: the file is empty")
    if options.format is not None and _wrapper(sample) is None:
        return _named_reader(options.format)
    try:
        detection = detect(sample, source.name)
    except ListFormatError as error:
        raise _with_path(error, path) from error
    if detection.format is None:
        known = ", ".join(info.name for info in FORMATS)
        raise ListFormatError(f"{path}: {detection.why}; name the format with --format ({known})")
    return _named_reader(detection.format)


def _named_reader(name: str) -> Reader:
    """The reader of the format called *name*."""
    for reader in _READERS:
        if reader.info.name == name:
            return reader
    raise UsageError(f"no list format is called {name!r}; known: {', '.join(info.name for info in FORMATS)}")


def _check_role(reader: Reader, options: ListOptions, path: str) -> None:
    """Raise :class:`UsageError` if the role is missing or cannot be given to this format."""
    if reader.graded:
        if options.role in (Role.TRUSTED, Role.TEST):
            raise UsageError(
                f"{path}: {reader.info.name} lists are graded by category; "
                f"--role may only lower, to known-good or undecided"
            )
    elif options.role is None:
        raise UsageError(
            f"{path}: a {reader.info.name} list does not say what it means; give --role ({', '.join(Role)})"
        )


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


def _with_path(error: ListError, path: str) -> ListError:
    """*error* with the path in its text, unless it is there already."""
    text = str(error)
    return error if text.startswith(path) else type(error)(f"{path}: {text}")
