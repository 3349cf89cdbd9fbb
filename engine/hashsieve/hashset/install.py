"""A private copy of a set: verified while it is made, kept where nobody else can write, read by whoever stays resident.

In ``<state directory>/sets`` (mode 0700) lie, for each name, ``<name>.<generation>.<root>.hset`` (0600) and a pointer
``<name>.current`` with the file name of the copy in use. A copy is complete before the pointer names it, and the
pointer is replaced at once, so that a kill at any moment leaves the old or the new one. Older copies are removed when
nothing has them open any more: at once where an open file can be removed, else by a later install.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from typing import Any

from ..errors import OutputError, Path, SetError, SetRollbackError, UsageError, shown
from .generations import Generations
from .hashset import HashSet
from .publish import AtomicFile
from .seal import options_with_keys

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["install", "open_installed"]

_DIRECTORY = "sets"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_GENERATION_DIGITS = 19
_COPY = re.compile(rf"\.(?P<generation>[0-9]{{{_GENERATION_DIGITS}}})\.(?P<root>[0-9a-f]{{32}})\.hset")
_TEMPORARY = ".hashsieve-tmp"
_TRIES = 5  # of following a pointer that another process moves at the same time


def install(path: Path, state_dir: Path, *, name: str | None = None, **open_options: Any) -> HashSet:
    """Copies the set at *path* into *state_dir*, unless that very set is there, and opens the copy.

    *name* keeps apart several sets in one state directory; without it the file's own name does. The source must open
    with *open_options* (those of :meth:`HashSet.open`: keys, trusted keys, ...) and so must the copy; every page is
    verified on its way. A generation below that of the copy in use, or any that was ever in use under this name, is
    refused, whatever its content.

    Raises SetError and its kin naming *path* where the set cannot be used, OutputError where the copy cannot be
    written; what was installed before stays in use.
    """
    own = _name_of(path, name)
    open_options = options_with_keys(open_options)
    with HashSet.open(path, **(open_options | {"load": ()})) as source:
        directory = _private_directory(state_dir)
        with _alone(directory, own):
            target = os.path.join(
                directory, f"{own}.{source.generation:0{_GENERATION_DIGITS}d}.{source.root.hex()[:32]}.hset"
            )
            current = _pointed(directory, own)
            installed = _generation_of(current, own)
            if installed is not None and source.generation < installed and current != os.path.basename(target):
                raise SetRollbackError(
                    f"{shown(path)}: is generation {source.generation}, but generation {installed} is installed already"
                )
            memory = Generations(state_dir)
            memory.check(own, source.generation, path)
            opened = _opened(target, source.root, open_options) if current == os.path.basename(target) else None
            if opened is None:
                _copy(source, target)
                try:
                    opened = HashSet.open(target, **open_options)
                    _point(directory, own, os.path.basename(target))
                except BaseException:
                    if current != os.path.basename(target):
                        with contextlib.suppress(OSError):
                            os.unlink(target)
                    raise
            try:
                memory.remember(own, opened)
            except BaseException:
                opened.close()
                raise
            _tidy(directory, own, keep=os.path.basename(target))
            return opened


def open_installed(state_dir: Path, name: str, **open_options: Any) -> HashSet:
    """Opens the copy in use of the set with this name. SetError: there is none, or it cannot be used."""
    own = _name_of(name, name)
    directory = os.path.join(os.fsdecode(state_dir), _DIRECTORY)
    for _ in range(_TRIES):
        current = _pointed(directory, own)
        if current is None:
            break
        path = os.path.join(directory, current)
        try:
            return HashSet.open(path, **open_options)
        except SetError:
            # Replaced and removed between the two looks: the pointer leads on.
            if os.path.exists(path) or _pointed(directory, own) == current:
                raise
    raise SetError(f"{shown(directory)}: no set {own!r} is installed")


def _name_of(path: Path, name: str | None) -> str:
    if name is None:
        base = os.path.basename(os.fsdecode(path))
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", base.removesuffix(".hset")).lstrip(".-")[:100] or "set"
    if not _NAME.fullmatch(name):
        raise UsageError(f"{shown(name)!r}: a name for an installed set has 1 to 100 of A-Z a-z 0-9 _ . -")
    return name


def _private_directory(state_dir: Path) -> str:
    """The directory of copies, made where it is missing; refused where others could write to it."""
    directory = os.path.join(os.fsdecode(state_dir), _DIRECTORY)
    try:
        os.makedirs(os.path.dirname(directory) or ".", mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        facts = os.lstat(directory)
        if not stat.S_ISDIR(facts.st_mode):
            raise OutputError(f"{shown(directory)}: is not a directory; name another state directory")
        if hasattr(os, "geteuid"):
            if facts.st_uid != os.geteuid():
                raise OutputError(f"{shown(directory)}: belongs to another user; name another state directory")
            if stat.S_IMODE(facts.st_mode) != 0o700:
                os.chmod(directory, 0o700)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise OutputError(f"{shown(directory)}: cannot be made: {reason}; nothing was installed") from problem
    return directory


@contextlib.contextmanager
def _alone(directory: str, name: str) -> Iterator[None]:
    """One installer of a name at a time, among all processes."""
    if fcntl is None:
        yield
        return
    try:
        fd = os.open(os.path.join(directory, f"{name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise OutputError(f"{shown(directory)}: cannot be written: {problem.strerror}") from problem
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _pointed(directory: str, name: str) -> str | None:
    """File name of the copy in use; None where there is none, or the pointer cannot be one of ours."""
    try:
        with open(os.path.join(directory, f"{name}.current"), encoding="ascii") as file:
            text = file.read(300).strip()
    except (OSError, ValueError):
        return None
    return text if _generation_of(text, name) is not None else None


def _generation_of(file_name: str | None, name: str) -> int | None:
    if file_name is None or not file_name.startswith(name):
        return None
    found = _COPY.fullmatch(file_name[len(name) :])
    return int(found["generation"]) if found else None


def _opened(target: str, root: bytes, open_options: dict[str, Any]) -> HashSet | None:
    """The copy that is there already; None where it is damaged, so that it is made anew."""
    try:
        opened = HashSet.open(target, **open_options)
    except SetError:
        return None
    if opened.root == root and opened.file_state() == "same":
        return opened
    opened.close()
    return None


def _copy(source: HashSet, target: str) -> None:
    with AtomicFile(target) as out:
        with out.problems():
            source.copy_into(out.file.fileno())
        out.publish()


def _point(directory: str, name: str, file_name: str) -> None:
    with AtomicFile(os.path.join(directory, f"{name}.current")) as out:
        with out.problems():
            out.file.write(file_name.encode("ascii"))
        out.publish()


def _tidy(directory: str, name: str, keep: str) -> None:
    """Removes other copies of the name and what killed installs left. The caller is alone."""
    for entry in os.listdir(directory):
        if entry == keep:
            continue
        copy = entry
        if entry.startswith(".") and entry.endswith(_TEMPORARY):
            # "." + the first 40 characters of the copy's name + "." + 16 digits + suffix; a pointer's are its writer's.
            copy = entry[1 : -len(_TEMPORARY)].rpartition(".")[0]
            generation = copy.removeprefix(f"{name}.")[:_GENERATION_DIGITS]
            if not generation.isdigit() or len(generation) < _GENERATION_DIGITS:
                continue  # where a long name cuts it short, the next copy of that name removes it
        elif _generation_of(entry, name) is None:
            continue
        with contextlib.suppress(OSError):  # open somewhere, on a system that minds: the next install tries again
            os.unlink(os.path.join(directory, entry))
