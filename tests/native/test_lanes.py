"""The lane scheduler against hashlib, through every kernel that this CPU can run."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from hashsieve._scan import Lanes, kernels
from hashsieve.errors import KernelError, UsageError
from hashsieve.scan.kernels import demanded_kernels
from helpers import CommandLine

KINDS = ("md5", "sha1", "sha256")
SLOTS = 24
RUNNING = [(each["kind"], each["name"]) for each in kernels() if each["state"] in ("chosen", "available")]
PLANS = [("md5",), ("sha1",), ("sha256",), ("sha1", "sha256"), ("md5", "sha1"), ("md5", "sha256"), KINDS]
CONTENT = random.Random(5).randbytes((1 << 20) + 64)

every_kernel = pytest.mark.parametrize(("kind", "name"), RUNNING, ids=lambda value: value)
every_plan = pytest.mark.parametrize("kinds", PLANS, ids="+".join)


def tail(data: bytes, byteorder: str) -> bytes:
    """The end of a stream after its whole blocks, padded as RFC 1321 (little) and FIPS 180-4 (big) say."""
    rest = data[len(data) // 64 * 64 :]
    padded = rest + b"\x80" + bytes(-(len(rest) + 9) % 64)
    return padded + (8 * len(data)).to_bytes(8, byteorder)  # type: ignore[arg-type]


def feed_tail(lanes: Lanes, kinds: Iterable[str], slot: int, data: bytes) -> None:
    """The last blocks of *data*, for whatever kinds are planned."""
    md5, sha = tail(data, "little"), tail(data, "big")
    if kinds == ("md5",):
        lanes.feed(slot, md5)
    elif "md5" not in kinds:
        lanes.feed(slot, sha)
    else:
        lanes.feed_tails(slot, md5, sha)


def expected(kinds: Iterable[str], data: bytes) -> dict[str, bytes]:
    return {kind: hashlib.new(kind, data).digest() for kind in kinds}


def digest_all(
    kinds: tuple[str, ...], messages: Iterable[bytes], forced: dict[str, str] | None = None, slots: int = SLOTS
) -> Iterator[tuple[bytes, dict[str, bytes]]]:
    """Each message with its digests, in the order they end: whole blocks at once, then the tail, in any free slot."""
    lanes = Lanes(kinds, forced)
    coming = iter(messages)
    inside: dict[int, tuple[bytes, bool]] = {}
    more = True
    while more or inside:
        for slot in range(slots):
            if slot in inside and lanes.waiting(slot):
                continue
            if slot in inside:
                data, at_tail = inside.pop(slot)
                if not at_tail:
                    feed_tail(lanes, kinds, slot, data)
                    inside[slot] = data, True
                    continue
                yield data, lanes.digest(slot)
            data_or_none = next(coming, None) if more else None
            if data_or_none is None:
                more = False
                continue
            lanes.start(slot)
            body = data_or_none[: len(data_or_none) // 64 * 64]
            if body:
                lanes.feed(slot, body)
            else:
                feed_tail(lanes, kinds, slot, data_or_none)
            inside[slot] = data_or_none, not body
        lanes.step()


def check_all(kinds: tuple[str, ...], messages: list[bytes], forced: dict[str, str] | None = None) -> None:
    count = 0
    for data, digests in digest_all(kinds, messages, forced):
        assert digests == expected(kinds, data), len(data)
        count += 1
    assert count == len(messages)


def lengths_around_blocks() -> list[int]:
    return sorted({64 * blocks + more for blocks in range(5) for more in (-9, -8, -1, 0, 1) if 64 * blocks + more >= 0})


# ---- lengths -----------------------------------------------------------------------------------------------------


@every_kernel
def test_every_length_up_to_300(kind: str, name: str) -> None:
    check_all((kind,), [CONTENT[n : n + n] for n in range(301)], {kind: name})


@every_kernel
def test_lengths_around_block_boundaries_at_any_alignment(kind: str, name: str) -> None:
    check_all((kind,), [CONTENT[at : at + n] for n in lengths_around_blocks() for at in range(5)], {kind: name})


@every_kernel
def test_random_lengths_up_to_a_mebibyte(kind: str, name: str) -> None:
    source = random.Random(f"{kind} {name}")
    lengths = [source.randrange(1 << source.randrange(1, 21)) for _ in range(40)] + [1 << 20]
    source.shuffle(lengths)
    check_all((kind,), [CONTENT[:n] for n in lengths], {kind: name})


@every_plan
def test_several_kinds_at_once(kinds: tuple[str, ...]) -> None:
    source = random.Random(str(kinds))
    lengths = [*range(130), *lengths_around_blocks(), *(source.randrange(200_000) for _ in range(60))]
    source.shuffle(lengths)
    check_all(kinds, [CONTENT[n % 64 :][:n] for n in lengths])


@every_plan
@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8, 9, 16, 17, 23, 24])
def test_every_number_of_live_streams(kinds: tuple[str, ...], slots: int) -> None:
    messages = [CONTENT[n : n + 700 + n] for n in range(2 * slots)]
    assert dict(digest_all(kinds, messages, slots=slots)) == {data: expected(kinds, data) for data in messages}


def test_one_long_stream_among_short_ones_ends_last_and_holds_nobody_up() -> None:
    messages = [CONTENT[: 1 << 18], *(CONTENT[n:][:500] for n in range(400))]
    order = [len(data) for data, _ in digest_all(("md5",), messages)]
    assert order == [500] * 400 + [1 << 18]


# ---- arrivals and departures -------------------------------------------------------------------------------------


class Traffic(RuleBasedStateMachine):
    """Streams come and go in any slot, are fed in pieces of any size, and are held against hashlib at their end."""

    streams = Bundle("streams")

    @initialize(kinds=st.sampled_from(PLANS), data=st.data())
    def begin(self, kinds: tuple[str, ...], data: st.DataObject) -> None:
        names = {kind: [None, *(name for of, name in RUNNING if of == kind)] for kind in kinds}
        chosen = {kind: data.draw(st.sampled_from(names[kind]), label=kind) for kind in kinds}
        self.kinds = kinds
        self.lanes = Lanes(kinds, {kind: name for kind, name in chosen.items() if name})
        self.fed: dict[int, tuple[bytes, int]] = {}  # slot: content, bytes fed; -1: its tail was fed
        self.waiting: dict[int, int] = {}

    @rule(target=streams, slot=st.integers(0, SLOTS - 1), start=st.integers(0, 999), length=st.integers(0, 2000))
    def arrive(self, slot: int, start: int, length: int) -> int:
        """In a slot that is in use too: what was there is abandoned, as a file that cannot be read on is."""
        self.lanes.start(slot)
        self.fed[slot] = CONTENT[start : start + length], 0
        self.waiting.pop(slot, None)
        return slot

    @rule(slot=streams, blocks=st.integers(1, 20))
    def feed(self, slot: int, blocks: int) -> None:
        data, done = self.fed.get(slot, (b"", -1))
        if done < 0 or self.waiting.get(slot):
            return
        body = data[done : len(data) // 64 * 64][: blocks * 64]
        if body:
            self.lanes.feed(slot, body)
            self.fed[slot] = data, done + len(body)
            self.waiting[slot] = len(body) // 64
        else:
            feed_tail(self.lanes, self.kinds, slot, data)
            self.fed[slot] = data, -1
            self.waiting[slot] = self.lanes.waiting(slot)
            assert self.waiting[slot] == (1 if len(data) % 64 < 56 else 2)

    @precondition(lambda self: self.fed)
    @rule()
    def step(self) -> None:
        live = [count for count in self.waiting.values() if count]
        done = self.lanes.step()
        assert done == min(live, default=0)
        self.waiting = {slot: max(0, count - done) for slot, count in self.waiting.items()}

    @rule(slot=consumes(streams))
    def depart(self, slot: int) -> None:
        data, done = self.fed.get(slot, (b"", 0))
        if done >= 0:
            return
        while self.waiting[slot]:
            self.step()
        assert self.lanes.digest(slot) == expected(self.kinds, data)
        del self.fed[slot], self.waiting[slot]

    @invariant()
    def counts_agree(self) -> None:
        for slot, count in getattr(self, "waiting", {}).items():
            assert self.lanes.waiting(slot) == count

    def teardown(self) -> None:
        """Whatever is still inside is brought to its end."""
        while getattr(self, "fed", None):
            slot, (_, done) = next(iter(self.fed.items()))
            self.feed(slot, 20) if done >= 0 else self.depart(slot)
            self.step() if self.fed else None


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)

# ---- published digests -------------------------------------------------------------------------------------------

# RFC 1321, appendix A.5.
RFC_1321 = {
    b"": "d41d8cd98f00b204e9800998ecf8427e",
    b"a": "0cc175b9c0f1b6a831c399e269772661",
    b"abc": "900150983cd24fb0d6963f7d28e17f72",
    b"message digest": "f96b697d7cb7938d525a2f31aaf161d0",
    b"abcdefghijklmnopqrstuvwxyz": "c3fcd3d76192e4007dfb496cca67e13b",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789": "d174ab98d277d9f5a5611c2c9f419d9f",
    b"1234567890" * 8: "57edf4a22be3c955ac49da2e2107b67a",
}
# NIST Cryptographic Algorithm Validation Program, SHA test vectors for byte-oriented implementations
# (shabytetestvectors.zip): SHA1ShortMsg.rsp and SHA1LongMsg.rsp, messages of 0, 8, 504, 512 and 1304 bits; and the
# examples of FIPS 180-4 with 24, 448 and 8,000,000 bits.
CAVP_SHA1 = {
    b"": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    bytes.fromhex("36"): "c1dfd96eea8cc2b62785275bca38ac261256e278",
    bytes.fromhex(
        "f2c76ef617fa2bfc8a4d6bcbb15fe88436fdc2165d3074629579079d4d5b86f5"
        "081ab177b4c3f530376c9c924cbd421a8daf8830d0940c4fb7589865830699"
    ): "9f3ea255f6af95c5454e55d7354cabb45352ea0b",
    bytes.fromhex(
        "45927e32ddf801caf35e18e7b5078b7f5435278212ec6bb99df884f49b327c64"
        "86feae46ba187dc1cc9145121e1492e6b06e9007394dc33b7748f86ac3207cfe"
    ): "a70cfbfe7563dd0e665c7c6715a96a8d756950c0",
    bytes.fromhex(
        "7c9c67323a1df1adbfe5ceb415eaef0155ece2820f4d50c1ec22cba4928ac656"
        "c83fe585db6a78ce40bc42757aba7e5a3f582428d6ca68d0c3978336a6efb729"
        "613e8d9979016204bfd921322fdd5222183554447de5e6e9bbe6edf76d7b71e1"
        "8dc2e8d6dc89b7398364f652fafc734329aafa3dcd45d4f31e388e4fafd7fc64"
        "95f37ca5cbab7f54d586463da4bfeaa3bae09f7b8e9239d832b4f0a733aa609c"
        "c1f8d4"
    ): "d8fd6a91ef3b6ced05b98358a99107c1fac8c807",
    b"abc": "a9993e364706816aba3e25717850c26c9cd0d89d",
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
    b"a" * 1_000_000: "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
}
# The same for SHA-256: SHA256ShortMsg.rsp and SHA256LongMsg.rsp, messages of 0, 8, 16, 24, 448, 504, 512 and 1304 bits.
CAVP_SHA256 = {
    b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    bytes.fromhex("d3"): "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1",
    bytes.fromhex("11af"): "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98",
    bytes.fromhex("b4190e"): "dff2e73091f6c05e528896c4c831b9448653dc2ff043528f6769437bc7b975c2",
    bytes.fromhex(
        "2d52447d1244d2ebc28650e7b05654bad35b3a68eedc7f8515306b496d75f3e73385dd1b002625024b81a02f2fd6dffb6e6d561cb7d0bd7a"
    ): "cfb88d6faf2de3a69d36195acec2e255e2af2b7d933997f348e09f6ce5758360",
    bytes.fromhex(
        "e2f76e97606a872e317439f1a03fcd92e632e5bd4e7cbc4e97f1afc19a16fde9"
        "2d77cbe546416b51640cddb92af996534dfd81edb17c4424cf1ac4d75aceeb"
    ): "18041bd4665083001fba8c5411d2d748e8abbfdcdfd9218cb02b68a78e7d4c23",
    bytes.fromhex(
        "5a86b737eaea8ee976a0a24da63e7ed7eefad18a101c1211e2b3650c5187c2a8"
        "a650547208251f6d4237e661c7bf4c77f335390394c37fa1a9f9be836ac28509"
    ): "42e61e174fbb3897d6dd6cef3dd2802fe67b331953b06114a65c772859dfc1aa",
    bytes.fromhex(
        "451101250ec6f26652249d59dc974b7361d571a8101cdfd36aba3b5854d3ae08"
        "6b5fdd4597721b66e3c0dc5d8c606d9657d0e323283a5217d1f53f2f284f57b8"
        "5c8a61ac8924711f895c5ed90ef17745ed2d728abd22a5f7a13479a462d71b56"
        "c19a74a40b655c58edfe0a188ad2cf46cbf30524f65d423c837dd1ff2bf462ac"
        "4198007345bb44dbb7b1c861298cdf61982a833afc728fae1eda2f87aa2c9480"
        "858bec"
    ): "3c593aa539fdcdae516cdf2f15000f6634185c88f505b39775fb9ab137a10aa2",
    b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": (
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
    b"a" * 1_000_000: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
}
PUBLISHED = {"md5": RFC_1321, "sha1": CAVP_SHA1, "sha256": CAVP_SHA256}


@every_kernel
def test_published_digests(kind: str, name: str) -> None:
    published = PUBLISHED[kind]
    got = dict(digest_all((kind,), published, {kind: name}))
    assert {data: digests[kind].hex() for data, digests in got.items()} == published


# ---- demands -----------------------------------------------------------------------------------------------------


def test_the_portable_kernel_of_each_kind_is_there_and_one_is_chosen() -> None:
    for kind in KINDS:
        own = [each for each in kernels() if each["kind"] == kind]
        assert own[0]["name"] == "portable"
        assert own[0]["state"] in ("chosen", "available")
        assert sum(each["state"] == "chosen" for each in own) == 1
        assert all(each["gb_per_second"] > 0 and 1 <= each["lanes"] <= SLOTS for each in own)


def test_slots_are_as_many_as_the_widest_kernel_has_lanes() -> None:
    for each in kernels():
        if each["state"] in ("chosen", "available"):
            assert Lanes([each["kind"]], {each["kind"]: each["name"]}).slot_count == each["lanes"]
    portable = dict.fromkeys(KINDS, "portable")
    assert Lanes(KINDS, portable).slot_count == 1


IMPOSSIBLE = {
    "not built": "was not built for this processor family",
    "no cpu": "this CPU cannot run",
}


@pytest.mark.parametrize("state", IMPOSSIBLE)
def test_a_kernel_that_cannot_run_is_refused_with_its_reason(state: str) -> None:
    there = [each for each in kernels() if each["state"] == state]
    if not there:
        pytest.skip("this CPU can run every kernel that was built")
    for each in there:
        with pytest.raises(KernelError, match=IMPOSSIBLE[state]):
            Lanes([each["kind"]], {each["kind"]: each["name"]})
        with pytest.raises(KernelError, match=IMPOSSIBLE[state]):
            demanded_kernels({"HASHSIEVE_KERNEL": f"{each['kind']}:{each['name']}"})


@pytest.mark.parametrize("name", ["", "Portable", "avx512-x16", "portable ", "pörtable", "avx2-x8\0"])
def test_an_unknown_kernel_is_refused(name: str) -> None:
    with pytest.raises(KernelError, match="there is no md5 kernel"):
        Lanes(["md5"], {"md5": name})


def test_a_kind_without_kernels_is_refused() -> None:
    with pytest.raises(KernelError, match="no kernels for 'blake3'"):
        Lanes(["md5"], {"blake3": "portable"})


@pytest.mark.parametrize(
    ("text", "demanded"),
    [
        ("", {}),
        (" , ,", {}),
        ("md5:portable", {"md5": "portable"}),
        (" md5:portable , sha1:portable,", {"md5": "portable", "sha1": "portable"}),
        ("sha256:portable,md5:portable,sha1:portable", dict.fromkeys(KINDS, "portable")),
    ],
)
def test_demands_of_the_environment(text: str, demanded: dict[str, str]) -> None:
    assert demanded_kernels({"HASHSIEVE_KERNEL": text}) == demanded
    assert demanded_kernels({}) == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("portable", "pairs"),
        ("md5:", "pairs"),
        ("md5", "pairs"),
        ("md5:portable,md5:portable", "twice"),
        ("md5:nonesuch", "there is no md5 kernel 'nonesuch'; known: portable"),
        ("md5:portable:portable", "there is no md5 kernel"),
        ("MD5:portable", "no kernels for 'MD5'"),
        ("blake3:portable", "no kernels for 'blake3'"),
        (":portable", "no kernels for ''"),
    ],
)
def test_demands_that_cannot_be_met_raise(text: str, why: str) -> None:
    with pytest.raises(KernelError, match=why):
        demanded_kernels({"HASHSIEVE_KERNEL": text})


def test_an_impossible_demand_ends_the_command_line_with_its_reason(
    cli: CommandLine, tmp_path: Path, make_set: Any
) -> None:
    done = cli("scan", "-s", make_set(b"x"), tmp_path, env={"HASHSIEVE_KERNEL": "md5:nonesuch"})
    assert done.code == 2
    assert "there is no md5 kernel 'nonesuch'" in done.err
    assert "Traceback" not in done.err


# ---- misuse ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [[], ["md5", "md5"], ["sha1", "md5"], ["blake3"], ["md5", "sha1", "sha256", "md5"]])
def test_plans_that_are_none_are_refused(kinds: list[str]) -> None:
    with pytest.raises(UsageError):
        Lanes(kinds)


def test_misuse_is_refused() -> None:
    lanes = Lanes(["md5"])
    lanes.start(0)
    for slot in (SLOTS, 1000):
        for call in (lanes.start, lanes.waiting, lanes.digest):
            with pytest.raises(UsageError):
                call(slot)
        with pytest.raises(UsageError):
            lanes.feed(slot, bytes(64))
    for blocks in (b"", bytes(63), bytes(65)):
        with pytest.raises(UsageError):
            lanes.feed(0, blocks)
    for md5, sha in ((bytes(64), bytes(128)), (b"", b""), (bytes(1), bytes(1))):
        with pytest.raises(UsageError):
            lanes.feed_tails(0, md5, sha)
    lanes.feed(0, bytes(64))
    with pytest.raises(UsageError):
        lanes.feed(0, bytes(64))
    assert lanes.step() == 1
    assert lanes.step() == 0
