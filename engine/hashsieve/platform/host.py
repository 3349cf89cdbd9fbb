"""Facts about the machine that an alert carries: who, where, on what network and power. Read, never asked for.

Nothing here touches the network or runs a program. Parsers are pure functions over bytes; readers take the root of the
system's own files, so that tests hand in trees of their own. What cannot be told is ``unknown`` or left out, never
guessed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .mounts import NETWORK_TYPES, MountTable

__all__ = [
    "NetworkRule",
    "boot_id",
    "host_facts",
    "logged_in_users",
    "network_facts",
    "origin_hints",
    "owner_name",
    "parse_utmp",
    "power_facts",
    "volume_facts",
]

_UTMP_BYTES = 384
_USER_PROCESS = 7
_ORIGIN_ATTRIBUTES = (
    "user.xdg.origin.url",
    "user.xdg.referrer.url",
    "com.apple.metadata:kMDItemWhereFroms",
    "com.apple.quarantine",
)
_MAX_TEXT = 512


def _read(path: str, limit: int = 1 << 16) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(limit)
    except OSError:
        return b""


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace").strip()[:_MAX_TEXT]


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def boot_id(proc: str = "/proc") -> str | None:
    """Changes with every start of the system; None where it has no such thing."""
    return _text(_read(f"{proc}/sys/kernel/random/boot_id")) or None


def host_facts() -> dict[str, Any]:
    """Name and system of this machine."""
    import platform
    import socket

    return {
        "name": socket.gethostname(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
    }


def parse_utmp(data: bytes) -> list[str]:
    """Users with a session, from a Linux ``utmp`` file (utmp(5): records of 384 bytes)."""
    users = set()
    for start in range(0, len(data) - _UTMP_BYTES + 1, _UTMP_BYTES):
        kind = int.from_bytes(data[start : start + 2], sys.byteorder)
        name = data[start + 44 : start + 76].split(b"\0")[0]
        if kind == _USER_PROCESS and name:
            users.add(_text(name))
    return sorted(users)


def logged_in_users(run: str = "/run") -> list[str]:
    """Users with a session now: from ``utmp`` and from what systemd-logind keeps."""
    users = set(parse_utmp(_read(f"{run}/utmp", 1 << 20)))
    for name in _names(f"{run}/systemd/users"):
        for line in _read(f"{run}/systemd/users/{name}").split(b"\n"):
            if line.startswith(b"NAME="):
                users.add(_text(line[5:]))
    return sorted(users)


def owner_name(uid: int) -> str | None:
    """The account of a user number, or None."""
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError, OSError, OverflowError):
        return None


def power_facts(root: str = "/sys/class/power_supply") -> dict[str, Any]:
    """``source`` is mains, battery or unknown; ``percent`` of the system's own batteries where it can be read.

    Batteries of mice and the like have scope Device and do not count.
    """
    mains: list[bool] = []
    percents: list[int] = []
    discharging = False
    for name in _names(root):
        supply = os.path.join(root, name)
        kind, scope = _text(_read(f"{supply}/type")), _text(_read(f"{supply}/scope"))
        if scope == "Device":
            continue
        if kind in ("Mains", "USB"):
            online = _text(_read(f"{supply}/online"))
            if online in ("0", "1", "2"):
                mains.append(online != "0")
        elif kind == "Battery":
            discharging |= _text(_read(f"{supply}/status")) == "Discharging"
            capacity = _text(_read(f"{supply}/capacity"))
            if capacity.isdecimal():
                percents.append(min(100, int(capacity)))
    if any(mains):
        source = "mains"
    elif discharging or (mains and percents):
        source = "battery"
    else:
        source = "unknown"
    facts: dict[str, Any] = {"source": source}
    if percents:
        facts["percent"] = sum(percents) // len(percents)
    return facts


@dataclass(frozen=True, slots=True)
class NetworkRule:
    """When a machine counts as on the company's network: any of these DNS suffixes or default gateways is set."""

    dns_suffixes: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


def _ipv4(little: str) -> str:
    return ".".join(str(part) for part in reversed(bytes.fromhex(little)))


def network_facts(
    rule: NetworkRule | None = None, *, proc: str = "/proc", resolv: str = "/etc/resolv.conf"
) -> dict[str, Any]:
    """``state`` is online where there is a default route, else offline; ``company`` is on, off or unknown (no rule).

    Passive: routes and resolver settings are read, nothing is sent.
    """
    table = _read(f"{proc}/net/route")
    if not table and not os.path.isdir(f"{proc}/net"):
        return {"state": "unknown", "company": "unknown"}
    gateways = set()
    for line in table.decode("ascii", "replace").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and fields[7] == "00000000" and int(fields[3], 16) & 1:
            with contextlib.suppress(ValueError):
                gateways.add(_ipv4(fields[2]))
    online = bool(gateways)
    for line in _read(f"{proc}/net/ipv6_route").decode("ascii", "replace").splitlines():
        fields = line.split()
        if len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00" and fields[9] != "lo":
            online |= bool(int(fields[8], 16) & 1) and not int(fields[8], 16) & 0x200  # up, not a reject route
    domains: set[str] = set()
    for raw in _read(resolv).decode("utf-8", "replace").splitlines():
        words = raw.split()
        if words and words[0] in ("search", "domain"):
            domains.update(word.rstrip(".").lower() for word in words[1:])
    company = "unknown"
    if rule is not None and (rule.dns_suffixes or rule.gateways):
        suffixes = [suffix.strip(".").lower() for suffix in rule.dns_suffixes]
        known = any(d == s or d.endswith(f".{s}") for d in domains for s in suffixes)
        company = "on" if online and (known or gateways & set(rule.gateways)) else "off"
    return {"state": "online" if online else "offline", "company": company}


def volume_facts(
    path: bytes, device: int, *, mounts: MountTable | None = None, sys_root: str = "/sys"
) -> dict[str, Any]:
    """The volume a file lies on: ``kind`` fixed, removable, network or unknown, type, source, serial where given."""
    table = MountTable.current() if mounts is None else mounts
    facts: dict[str, Any] = {"kind": "unknown"}
    mount = table.of(path) if path.startswith(b"/") else None
    if mount is not None:
        facts |= {"type": _text(mount.fs_type), "source": _text(mount.source)}
        if mount.fs_type.partition(b".")[0] in NETWORK_TYPES:
            return facts | {"kind": "network"}
    number = mount.device if mount is not None else f"{os.major(device)}:{os.minor(device)}"
    block = os.path.realpath(f"{sys_root}/dev/block/{number}")
    # A partition's own folder lies inside that of its disk.
    for folder in (block, os.path.dirname(block)):
        removable = _text(_read(f"{folder}/removable"))
        if removable in ("0", "1"):
            usb = "/usb" in folder
            facts["kind"] = "removable" if removable == "1" or usb else "fixed"
            serial = _text(_read(f"{folder}/device/serial") or _read(f"{folder}/serial"))
            if serial:
                facts["serial"] = serial
            break
    return facts


def origin_hints(path: bytes) -> dict[str, str]:
    """Where a download came from, as the system noted it beside the file: extended attributes, Windows zone."""
    hints = {}
    if hasattr(os, "getxattr"):
        for name in _ORIGIN_ATTRIBUTES:
            with contextlib.suppress(OSError):
                hints[name] = _text(os.getxattr(path, name, follow_symlinks=False))
    elif sys.platform == "win32":
        zone = _read(os.fsdecode(path) + ":Zone.Identifier", 4096)
        if zone:
            hints["zone.identifier"] = _text(zone)
    return hints


def process_facts(pid: int, *, proc: str = "/proc") -> Mapping[str, Any]:
    """Executable and user of a process that a feed named; only the number where it has ended."""
    facts: dict[str, Any] = {"pid": pid}
    with contextlib.suppress(OSError):
        facts["executable"] = os.readlink(f"{proc}/{pid}/exe")
    with contextlib.suppress(OSError):
        uid = os.stat(f"{proc}/{pid}").st_uid
        facts["uid"] = uid
        name = owner_name(uid)
        if name is not None:
            facts["user"] = name
    return facts
