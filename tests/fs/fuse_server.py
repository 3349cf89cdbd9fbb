"""A small FUSE file system on /dev/fuse for tests, as a process: ``fuse_server.py MOUNT_POINT``.

The description comes by standard input, in JSON: ``tree`` (a dict is a directory, a string a file), ``silent`` (pairs
of an operation and a name that are taken and never answered; operations: lookup, getattr, open, read, opendir,
readdir), ``delay_seconds`` for every answer, ``numbers`` (inode numbers by name) and ``types`` (what the listing says
of a name: 4 a directory, 8 a file). Prints a line when it is mounted; the mount dies with the process.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import struct
import sys
import time

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = (
    1, 2, 3, 14, 15, 17, 18, 25, 26, 27, 28, 29,
)  # fmt: skip
INTERRUPT, BATCH_FORGET = 36, 42
NAMES = {LOOKUP: "lookup", GETATTR: "getattr", OPEN: "open", READ: "read", OPENDIR: "opendir", READDIR: "readdir"}


class Node:
    def __init__(self, name, content):
        self.name = name
        self.number = None
        self.children = None
        self.data = b""
        if isinstance(content, dict):
            self.children = {each: Node(each, inner) for each, inner in content.items()}
        else:
            self.data = content.encode()


class Server:
    def __init__(self, fd, description):
        self.fd = fd
        self.nodes = {1: Node("", description["tree"])}
        self.nodes[1].number = 1
        self.silent = {tuple(pair) for pair in description.get("silent", ())}
        self.delay_seconds = description.get("delay_seconds", 0)
        self.numbers = description.get("numbers", {})
        self.types = description.get("types", {})

    def number(self, node):
        """The number by which the kernel asks about a node."""
        if node.number is None:
            node.number = len(self.nodes) + 1
            self.nodes[node.number] = node
        return node.number

    def ino(self, node):
        """The number that the file system tells."""
        return self.numbers.get(node.name) or self.number(node)

    def attributes(self, node):
        mode = 0o100644 if node.children is None else 0o40755
        size = len(node.data)
        numbers = (self.ino(node), size, (size + 511) // 512, 1, 1, 1, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
        return struct.pack("<6Q10I", *numbers)

    def reply(self, unique, data=b"", error=0):
        try:
            os.write(self.fd, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)
        except OSError as problem:
            if problem.errno not in (errno.ENOENT, errno.EINVAL):  # the asker is gone
                raise

    def serve(self):
        while True:
            try:
                message = os.read(self.fd, 1 << 20)
            except OSError as problem:
                if problem.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                return
            _, operation, unique, number = struct.unpack_from("<IIQQ", message)
            if operation not in (FORGET, BATCH_FORGET, INTERRUPT):
                self.answer(operation, unique, self.nodes.get(number), message[40:])

    def answer(self, operation, unique, node, body):
        name = os.fsdecode(body.split(b"\0")[0]) if operation == LOOKUP else node.name if node else ""
        if (NAMES.get(operation), name) in self.silent:
            return
        if self.delay_seconds and operation in NAMES:
            time.sleep(self.delay_seconds)
        if operation == INIT:
            _, _, ahead, _ = struct.unpack_from("<4I", body)
            self.reply(unique, struct.pack("<4I2H2I2HI28x", 7, 31, ahead, 0, 16, 12, 1 << 17, 1, 0, 0, 0))
        elif operation == LOOKUP:
            child = (node.children or {}).get(name)
            if child is None:
                self.reply(unique, error=errno.ENOENT)
            else:
                self.reply(unique, struct.pack("<4Q2I", self.number(child), 0, 0, 0, 0, 0) + self.attributes(child))
        elif operation == GETATTR:
            self.reply(unique, struct.pack("<Q2I", 0, 0, 0) + self.attributes(node))
        elif operation in (OPEN, OPENDIR):
            self.reply(unique, struct.pack("<Q2I", 1, operation == OPEN, 0))
        elif operation == READ:
            _, offset, size = struct.unpack_from("<2QI", body)
            self.reply(unique, node.data[offset : offset + size])
        elif operation == READDIR:
            _, offset, size = struct.unpack_from("<2QI", body)
            self.reply(unique, self.listing(node, offset, size))
        elif operation in (RELEASE, RELEASEDIR, FLUSH):
            self.reply(unique)
        else:
            self.reply(unique, error=errno.ENOSYS)

    def listing(self, node, offset, size):
        listed = b""
        for at, child in list(enumerate(node.children.values(), start=1))[offset:]:
            name = os.fsencode(child.name)
            kind = self.types.get(child.name, 8 if child.children is None else 4)
            entry = struct.pack("<2Q2I", self.ino(child), at, len(name), kind) + name
            entry += bytes(-len(entry) % 8)
            if len(listed) + len(entry) > size:
                break
            listed += entry
        return listed


def main():
    point, description = sys.argv[1], json.load(sys.stdin)
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"test", os.fsencode(point), b"fuse.test", 0, options):
        sys.exit(os.strerror(ctypes.get_errno()))
    print("mounted", flush=True)
    Server(fd, description).serve()


if __name__ == "__main__":
    main()
