"""Mounts: what is mounted where, and whether a walk may enter it -- decided from the mount table, never by touching it.

A stat on a dead network mount can hang for ever, so the table is asked first. Linux: ``/proc/self/mountinfo``
(proc(5)).
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["FUSE", "NETWORK", "PSEUDO", "Mount", "MountTable", "parse_mountinfo", "reason_not_to_enter"]

# Kernel interfaces that look like files. They hold nothing anybody stored, and reading some of them blocks or has
# effects. Not devtmpfs: files can be stored in it, and what is not a file in it is never opened.
PSEUDO_TYPES = frozenset(
    b"binder binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devfs devpts efivarfs functionfs "
    b"fusectl hugetlbfs mqueue nfsd nsfs pipefs proc pstore resctrl rpc_pipefs securityfs selinuxfs smackfs sockfs "
    b"sysfs tracefs usbfs xenfs".split()
)
NETWORK_TYPES = frozenset(
    b"9p acfs afs ceph cifs coda davfs fhgfs beegfs gfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs pvfs2 "
    b"smb smb2 smb3 smbfs vboxsf vmhgfs".split()
)

# FUSE file systems, by the subtype they give, whose content comes from another machine: reading would fetch it.
NETWORK_FUSE_TYPES = frozenset(
    b"afpfs blobfuse blobfuse2 boxfs curlftpfs davfs davfs2 dropboxfs dropboxfs-fuse gcsfuse glusterfs "
    b"google-drive-ocamlfuse gvfsd-fuse goofys hdfs httpdirfs juicefs kio-fuse mountpoint-s3 nfs onedriver rclone "
    b"restic s3fs seaweedfs sshfs "
    b"simple-mtpfs jmtpfs go-mtpfs aft-mtp-mount".split()
)

PSEUDO = "pseudo-filesystem:"
FUSE = "fuse-mount:"
NETWORK = "network-mount:"
_MAX_LINKS = 40  # as Linux counts


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


_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")


def _unescape(field: bytes) -> bytes:
    """The kernel writes space, tab, newline and backslash as three octal digits."""
    return _ESCAPE.sub(lambda found: bytes((int(found[1], 8),)), field)


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
    """Why the ordinary walk stays out of a mount of this type, or None.

    ``pseudo-filesystem``: nothing is stored there. ``network-mount``: another machine answers every call, or never
    does; left out by default and reported. ``fuse-mount``: another program answers, or never does; such mounts are
    read apart (:mod:`hashsieve.scan.apart`). ``automount``: a touch would mount something, most often from the
    network. ``fuseblk`` is a local disk.
    """
    kind, _, subtype = fs_type.partition(b".")
    name = fs_type.decode("ascii", "replace")
    if kind in PSEUDO_TYPES:
        return f"{PSEUDO}{name}"
    if kind == b"autofs":
        return f"automount:{name}"
    if kind in NETWORK_TYPES:
        return f"{NETWORK}{name}"
    if kind == b"fuse":
        return f"{NETWORK if subtype in NETWORK_FUSE_TYPES else FUSE}{(subtype or kind).decode('ascii', 'replace')}"
    return None


class MountTable:
    """The mounts of this process at one moment. Of several on one point, the last one is what a walk would meet."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        self.by_point: dict[bytes, Mount] = {}
        table = list(mounts)
        by_id = {mount.mount_id: mount for mount in table}
        top = {mount.mount_point: mount for mount in table}
        for point in sorted(top, key=lambda point: (point.count(b"/"), point != b"/")):
            if self._is_reached(top[point], by_id):
                self.by_point[point] = top[point]

    def _is_reached(self, mount: Mount, by_id: dict[int, Mount]) -> bool:
        """Does its path still lead to it? Not when something was mounted over a directory on the way, later."""
        parent = by_id.get(mount.parent_id)
        while parent is not None and parent.mount_point == mount.mount_point:  # itself mounted over another one
            parent = by_id.get(parent.parent_id) if parent.parent_id != parent.mount_id else None
        around = self.of(os.path.dirname(mount.mount_point)) if mount.mount_point != b"/" else None
        return parent is None or around is None or around.mount_id == parent.mount_id

    @classmethod
    def current(cls) -> MountTable:
        """Reads the table of this process; empty where the system keeps none. OSError when it cannot be read."""
        if not sys.platform.startswith("linux"):
            return cls(())
        with open("/proc/self/mountinfo", "rb") as file:
            return cls(parse_mountinfo(file.read()))

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

    def resolve(self, path: bytes) -> tuple[bytes, str | None]:
        """*path*, absolute, without links and ``..``; and why it is not to be touched, or None.

        Each step is asked of this table before it is asked of the system, and the way ends where it would lead into a
        mount that may never answer: that mount's path is given back then. Kernel interfaces and the file system of
        ``/`` itself do answer, so the way may lead through them. OSError as the system has it.
        """
        pending = _steps(path)
        real, link_count, home = b"/", 0, self.of(b"/")
        while pending:
            part = pending.pop()
            if part == b"..":
                real = os.path.dirname(real)
                continue
            step = os.path.join(real, part)
            reason = self.reason_at(step)
            if reason is not None and not reason.startswith(PSEUDO) and self.of(step) is not home:
                return step, reason
            mode = os.lstat(step).st_mode
            if stat.S_ISLNK(mode):
                link_count += 1
                if link_count > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), step)
                target = os.readlink(step)
                pending += _steps(target)
                real = b"/" if target.startswith(b"/") else real
            elif pending and not stat.S_ISDIR(mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), step)
            else:
                real = step
        return real, self.reason_at(real)

    def directly_inside(self, point: bytes) -> list[tuple[bytes, str | None]]:
        """Mount points whose next mount on the way up is the one at *point*, each with the reason not to enter it."""
        return [
            (inner, reason)
            for inner, reason in self._below(point)
            if (around := self.of(os.path.dirname(inner))) is not None and around.mount_point == point
        ]

    def _below(self, root: bytes) -> list[tuple[bytes, str | None]]:
        """Every mount point strictly below *root*, with the reason not to enter it."""
        return [
            (point, reason_not_to_enter(mount.fs_type))
            for point, mount in self.by_point.items()
            if _lies_below(point, root)
        ]

    def skips_below(self, root: bytes) -> list[tuple[bytes, str]]:
        """Mount points strictly below *root* that are not to be entered, with the reason."""
        return [(point, reason) for point, reason in self._below(root) if reason is not None]


def _lies_below(path: bytes, root: bytes) -> bool:
    return path != root and path.startswith(root.rstrip(b"/") + b"/")


def _steps(path: bytes) -> list[bytes]:
    """The names of a path, the last one first."""
    return [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
