"""The lane scheduler and every digest kernel this CPU can run, held against hashlib."""

import hashlib
import os
import random
import struct

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from hashsieve._scan import Lanes, kernels
from hashsieve.errors import KernelError, UsageError
from hashsieve.scan.kernels import demanded_kernels

KERNELS = [(each["kind"], each["name"]) for each in kernels() if each["state"] in ("chosen", "available")]
KINDS = ["md5", "sha1", "sha256"]


def padded(data, order):
    """The stream's whole blocks and its padded end (RFC 1321, 3.1 and 3.2; FIPS 180-4, 5.1.1)."""
    whole = len(data) // 64 * 64
    tail = data[whole:] + b"\x80"
    tail += bytes(-(len(tail) + 8) % 64) + struct.pack(order + "Q", len(data) * 8)
    return data[:whole], tail


def digests(datas, kinds, forced=None):
    """All streams at once, a stream a slot; when a slot ends, the next stream takes it."""
    lanes = Lanes(kinds, forced)
    waiting, out, running = list(enumerate(datas)), {}, {}
    while waiting or running:
        for slot in range(lanes.slot_count):
            if slot not in running and waiting:
                number, data = waiting.pop()
                body, md5_tail = padded(data, "<")
                lanes.start(slot)
                running[slot] = [number, body, (md5_tail, padded(data, ">")[1])]
            if slot in running and not lanes.waiting(slot):
                number, body, tails = running[slot]
                if body:
                    lanes.feed(slot, body)
                    running[slot][1] = b""
                elif tails:
                    lanes.feed_tails(slot, *tails)
                    running[slot][2] = None
                else:
                    out[number] = lanes.digest(slot)
                    del running[slot]
        lanes.step()
    return [out[number] for number in range(len(datas))]


def expected(datas, kinds):
    return [{kind: hashlib.new(kind, data).digest() for kind in kinds} for data in datas]


@pytest.mark.parametrize(("kind", "name"), KERNELS)
def test_every_kernel_gives_the_digests_of_hashlib(kind, name):
    dice = random.Random(f"{kind} {name}")
    lengths = [*range(301), *(64 * n + d for n in range(1, 5) for d in (-1, 0, 1)), 4095, 4096, 65537]
    lengths += [dice.randrange(1 << 20) for _ in range(4)]
    datas = [dice.randbytes(length) for length in lengths]
    assert digests(datas, [kind], {kind: name}) == expected(datas, [kind])


@pytest.mark.parametrize("kinds", [["md5", "sha1"], ["md5", "sha256"], ["sha1", "sha256"], KINDS])
def test_several_kinds_come_from_one_feed(kinds):
    dice = random.Random(1)
    datas = [dice.randbytes(dice.randrange(3000)) for _ in range(200)]
    assert digests(datas, kinds) == expected(datas, kinds)


def test_published_vectors():
    # RFC 1321, A.5; FIPS 180-4 examples (SHA-1, SHA-256 of "abc", of the 448-bit message, of a million times "a").
    long_message = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    vectors = {
        b"": {"md5": "d41d8cd98f00b204e9800998ecf8427e", "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
        b"a": {"md5": "0cc175b9c0f1b6a831c399e269772661"},
        b"abc": {
            "md5": "900150983cd24fb0d6963f7d28e17f72",
            "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        },
        b"message digest": {"md5": "f96b697d7cb7938d525a2f31aaf161d0"},
        b"abcdefghijklmnopqrstuvwxyz": {"md5": "c3fcd3d76192e4007dfb496cca67e13b"},
        b"12345678901234567890" * 4: {"md5": "57edf4a22be3c955ac49da2e2107b67a"},
        long_message: {
            "sha1": "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            "sha256": "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        },
        b"a" * 1_000_000: {
            "sha1": "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
            "sha256": "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        },
    }
    for found, wanted in zip(digests(list(vectors), KINDS), vectors.values(), strict=True):
        assert {kind: found[kind].hex() for kind in wanted} == wanted


class Arrivals(RuleBasedStateMachine):
    """Streams come and go in any slot at any time, in chunks of any size."""

    def __init__(self):
        super().__init__()
        self.lanes = Lanes(KINDS)
        self.streams = {}

    @rule(slot=st.integers(0, 23), length=st.integers(0, 700), seed=st.integers(0, 99))
    def arrive(self, slot, length, seed):
        if slot not in self.streams:
            data = random.Random(seed).randbytes(length)
            self.lanes.start(slot)
            self.streams[slot] = [data, *padded(data, "<"), padded(data, ">")[1]]

    @precondition(lambda self: self.streams)
    @rule(pick=st.integers(0, 99), blocks=st.integers(1, 4))
    def feed(self, pick, blocks):
        slot = sorted(self.streams)[pick % len(self.streams)]
        data, body, md5_tail, sha_tail = self.streams[slot]
        if self.lanes.waiting(slot):
            return
        if body:
            self.lanes.feed(slot, body[: 64 * blocks])
            self.streams[slot][1] = body[64 * blocks :]
        elif md5_tail:
            self.lanes.feed_tails(slot, md5_tail, sha_tail)
            self.streams[slot][2] = b""
        else:
            assert self.lanes.digest(slot) == expected([data], KINDS)[0]
            del self.streams[slot]

    @rule()
    def step(self):
        before = {slot: self.lanes.waiting(slot) for slot in self.streams}
        done = self.lanes.step()
        assert done == min((count for count in before.values() if count), default=0)


TestArrivals = Arrivals.TestCase
TestArrivals.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_a_demand_that_cannot_be_met_says_why():
    with pytest.raises(KernelError, match="there is no md5 kernel"):
        Lanes(["md5"], {"md5": "avx9-x99"})
    foreign = next(each for each in kernels() if each["state"] == "not built")
    with pytest.raises(KernelError, match="was not built for this processor family"):
        Lanes([foreign["kind"]], {foreign["kind"]: foreign["name"]})
    with pytest.raises(KernelError, match="twice"):
        demanded_kernels({"HASHSIEVE_KERNEL": "md5:portable,md5:portable"})
    with pytest.raises(KernelError, match="pairs such as"):
        demanded_kernels({"HASHSIEVE_KERNEL": "portable"})
    with pytest.raises(KernelError):
        demanded_kernels({"HASHSIEVE_KERNEL": "crc32:portable"})
    assert demanded_kernels({"HASHSIEVE_KERNEL": " md5:portable , sha1:portable,"}) == dict.fromkeys(
        ("md5", "sha1"), "portable"
    )
    assert demanded_kernels({}) == {}


def test_what_is_not_whole_blocks_is_refused():
    lanes = Lanes(["md5"])
    lanes.start(0)
    for wrong in (b"", b"x" * 63):
        with pytest.raises(UsageError):
            lanes.feed(0, wrong)
    with pytest.raises(UsageError):
        lanes.feed_tails(0, bytes(64), bytes(128))
    with pytest.raises(UsageError):
        lanes.start(24)
    lanes.feed(0, os.urandom(64))
    with pytest.raises(UsageError):
        lanes.feed(0, bytes(64))
