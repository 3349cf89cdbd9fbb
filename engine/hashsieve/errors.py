"""The one exception tree of hashsieve.

Every exception the package raises on purpose derives from :class:`HashsieveError`, and every class knows the exit code
the command line ends with when nothing handles it. The tree is cut by what a caller can do about it:

* :class:`UsageError` -- the call is wrong; change the arguments.
* :class:`ListError` -- a hash list cannot be imported; ask its custodian or correct the options.
* :class:`SetError` -- a compiled hash set cannot be used; install a good one.
* :class:`KeySourceError` -- a key is missing, or its file is open to others; correct that.
* :class:`StateError` -- the memory of an agent is damaged; decide what becomes of it.
* :class:`OutputError` -- a file could not be published; free space or choose another place.
* :class:`ScanError` -- a scan cannot start or go on.
* :class:`JournalError` -- the alert journal cannot be used; correct what the text names.

Texts name the file, the line or record where there is one, what was expected and what to do.
"""

from __future__ import annotations

import os

__all__ = [
    "ForkError",
    "HashsieveError",
    "JournalBusyError",
    "JournalError",
    "JournalFullError",
    "KernelError",
    "KeySourceError",
    "ListCutShortError",
    "ListEmptyError",
    "ListError",
    "ListFormatError",
    "ListRefusedError",
    "OutputError",
    "ScanError",
    "SetDamagedError",
    "SetError",
    "SetExpiredError",
    "SetFormatError",
    "SetRollbackError",
    "SetSealError",
    "SetSignatureError",
    "SetVersionError",
    "SetWrongKeyError",
    "StateError",
    "StoppedError",
    "UsageError",
]

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def shown(path: Path) -> str:
    """*path* for a message: control characters, bidirectional marks and undecodable bytes escaped."""
    raw = os.fspath(path)
    text = os.fsdecode(raw) if isinstance(raw, bytes) else raw
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class HashsieveError(Exception):
    """Base of all exceptions of this package."""

    exit_code = 2


class UsageError(HashsieveError, ValueError):
    """The arguments do not make sense together, or a value is out of its range."""


class KernelError(UsageError):
    """A kernel was demanded by name that does not exist, was not built, or that this CPU cannot run."""


class ListError(HashsieveError):
    """A hash list cannot be imported. Nothing was published."""


class ListFormatError(ListError):
    """No reader recognises the content, or the content contradicts the format that was asked for."""


class ListCutShortError(ListError):
    """The list ends in the middle of a record or of its wrapper."""


class ListRefusedError(ListError):
    """Too many rows of the list were refused, or any row under ``strict``."""


class ListEmptyError(ListError):
    """The list yields no entry."""


class SetError(HashsieveError):
    """A hash set cannot be used."""


class SetFormatError(SetError):
    """The file is not a hash set this version can read: wrong magic, impossible lengths, unknown required sections."""


class SetVersionError(SetFormatError):
    """The hash set asks for a newer reader."""


class SetDamagedError(SetError):
    """Bytes of the hash set do not agree with its page list or root, or cannot be read."""


class SetSealError(SetError):
    """The hash set is sealed and no key was given, or its sealed part does not open."""


class SetWrongKeyError(SetSealError):
    """The hash set was sealed with another key than those given."""


class SetSignatureError(SetError):
    """The hash set carries no valid signature of a trusted key, and one was demanded."""


class SetRollbackError(SetError):
    """The hash set is older than what was demanded, or than what was in use before."""


class SetExpiredError(SetError):
    """The end of the hash set's validity has passed, and a valid set was demanded."""


class KeySourceError(HashsieveError):
    """A key cannot be had from where it was said to be, or is not the kind of key that is needed."""


class StateError(HashsieveError):
    """What an agent remembers between runs cannot be read or written."""


class OutputError(HashsieveError):
    """A file could not be written or published; what stood under its name before is untouched."""


class ScanError(HashsieveError):
    """A scan cannot start or go on."""


class ForkError(ScanError):
    """The object was made before a fork and is used in the child; make a new one there."""


class JournalError(HashsieveError):
    """The alert journal cannot be used. What it holds is untouched."""


class JournalBusyError(JournalError):
    """Another process writes this journal; only one may."""


class JournalFullError(JournalError):
    """Nothing more can be made durable: the cap, the disk or its reserve is used up."""


class StoppedError(HashsieveError):
    """The work was stopped on request before its end; nothing was published."""

    exit_code = 130
