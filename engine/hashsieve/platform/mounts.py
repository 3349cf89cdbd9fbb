"""Mounts: what is mounted where, and whether a walk may enter it -- decided from the mount table, never by touching it.

A stat on a dead network mount can hang for ever, so the table is asked first. Linux: ``/proc/self/mountinfo`` (proc(5)).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Mount", "MountTable", "parse_mountinfo", "reason_not_to_enter"]

# Kernel interfaces that look like files. They hold nothing anybody stored, and reading some of them blocks or has effects.
PSEUDO_TYPES = frozenset(
    b"autofs binder binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devfs devpts devtmpfs efivarfs functionfs "
    b"fusectl hugetlbfs mqueue nfsd nsfs pipefs proc pstore resctrl rpc_pipefs securityfs selinuxfs smackfs sockfs sysfs "
    b"tracefs usbfs xenfs".split()
)
NETWORK_TYPES = frozenset(
    b"9p acfs afs ceph cifs coda davfs fhgfs beegfs gfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs pvfs2 "
    b"smb smb2 smb3 smbfs vboxsf vmhgfs".split()
)


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table. Paths are raw bytes; ``root`` is the mounted directory inside its file system."""

    mount_id: int
    parent_id: int
    device: str
    root: bytes
    mount_point: bytes
    fs_type: bytes
    source: bytes


def _unescape(field: bytes) -> bytes:
    """The kernel writes space, tab, newline and backslash as three octal digits."""
    if b"\\" not in field:
        return field
    out, at = bytearray(), 0
    while at < len(field):
        if field[at : at + 1] == b"\\" and field[at + 1 : at + 4].isdigit():
            out.append(int(field[at + 1 : at + 4], 8) & 0xFF)
            at += 4
        else:
            out.append(field[at])
            at += 1
    return bytes(out)


def parse_mountinfo(text: bytes) -> list[Mount]:
    """The mounts of a ``mountinfo`` file, in its order; lines that do not have the documented shape are passed over."""
    mounts = []
    for line in text.split(b"\n"):
        before, dash, after = line.partition(b" - ")
        fields, tail = before.split(b" "), after.split(b" ")
        if not dash or len(fields) < 6 or len(tail) < 2 or not fields[0].isdigit() or not fields[1].isdigit():
            continue
        mounts.append(
            Mount(
                int(fields[0]), int(fields[1]), fields[2].decode("ascii", "replace"), _unescape(fields[3]),
                _unescape(fields[4]), tail[0], _unescape(tail[1]),
            )
        )  # fmt: skip
    return mounts


def reason_not_to_enter(fs_type: bytes) -> str | None:
    """Why a walk stays out of a mount of this type, or None.

    ``pseudo-filesystem``: nothing is stored there. ``network-mount`` and ``fuse-mount``: another machine or program
    answers every call, or never does; they are left out by default and reported. ``fuseblk`` is a local disk.
    """
    kind, _, subtype = fs_type.partition(b".")
    name = fs_type.decode("ascii", "replace")
    if kind in PSEUDO_TYPES:
        return f"pseudo-filesystem:{name}"
    if kind in NETWORK_TYPES:
        return f"network-mount:{name}"
    if kind == b"fuse":
        return f"fuse-mount:{(subtype or kind).decode('ascii', 'replace')}"
    return None


class MountTable:
    """The mounts of this process at one moment. Where several lie on one point, the last one is what a walk would meet."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        self.by_point: dict[bytes, Mount] = {mount.mount_point: mount for mount in mounts}

    @classmethod
    def current(cls) -> MountTable:
        """Reads the table of this process; empty where the system has none to read."""
        if not sys.platform.startswith("linux"):
            return cls(())
        try:
            with open("/proc/self/mountinfo", "rb") as file:
                return cls(parse_mountinfo(file.read()))
        except OSError:
            return cls(())

    def of(self, path: bytes) -> Mount | None:
        """The mount that an absolute, normalised path lies in."""
        at = path.rstrip(b"/") or b"/"
        while True:
            mount = self.by_point.get(at)
            if mount is not None or at == b"/":
                return mount
            at = at.rpartition(b"/")[0] or b"/"

    def reason_at(self, path: bytes) -> str | None:
        """Why *path* is not to be touched, or None."""
        mount = self.of(path)
        return reason_not_to_enter(mount.fs_type) if mount is not None else None

    def skips_below(self, root: bytes) -> list[tuple[bytes, str]]:
        """Mount points strictly below *root* that are not to be entered, with the reason."""
        prefix = root.rstrip(b"/") + b"/"
        found = []
        for point, mount in self.by_point.items():
            reason = reason_not_to_enter(mount.fs_type)
            if reason is not None and point.startswith(prefix) and point != root:
                found.append((point, reason))
        return found
