"""HMAC-SHA-256 and fingerprints: the published vectors, hashlib, and every kernel against the portable one."""

import copy
import hashlib
import hmac
import pickle
import random

import pytest

from hashsieve import _seal
from hashsieve.errors import KeySourceError, UsageError

WIDTHS = {1: 16, 2: 20, 3: 32, 4: 32}
KERNELS = [name for name, _ in _seal.kernels()]

# RFC 4231, sections 4.2 to 4.8: key, data, HMAC-SHA-256 (that of 4.6 is cut to 128 bits).
RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First",
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    (b"\xaa" * 131, b"This is a test using a larger than block-size key and a larger than block-size data. The key "
     b"needs to be hashed before being used by the HMAC algorithm.",
     "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
]  # fmt: skip


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize(("key", "text", "expected"), RFC_4231, ids=range(1, 8))
def test_published_vectors(key, text, expected, portable):
    mac = _seal.hmac_sha256(key, text, portable)
    assert mac.hex()[: len(expected)] == expected
    assert mac == hmac.new(key, text, hashlib.sha256).digest()


@pytest.mark.parametrize("portable", [False, True])
def test_keys_and_texts_of_every_length_around_a_block(portable):
    rng = random.Random(1)
    for length in (*range(140), 1000, 65536):
        key, text = rng.randbytes(rng.choice([length, 32])), rng.randbytes(length)
        assert _seal.hmac_sha256(key, text, portable) == hmac.new(key, text, hashlib.sha256).digest()


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_makes_the_fingerprints_that_hashlib_makes(kernel):
    rng = random.Random(2)
    key = rng.randbytes(32)
    for width in (1, 16, 20, 32, 54):
        for count in (*range(1, 50), 1000):
            digests = rng.randbytes(width * count)
            code = rng.randrange(256)
            made = _seal.fingerprints_by(kernel, key, code, digests, width)
            each = (digests[at : at + width] for at in range(0, len(digests), width))
            assert made == b"".join(hmac.new(key, bytes([code]) + d, hashlib.sha256).digest()[:16] for d in each)


def test_the_portable_kernel_and_the_chosen_one_are_among_those_that_are_tested():
    assert KERNELS[0] == "portable"
    assert sum(chosen for _, chosen in _seal.kernels()) == 1
    with pytest.raises(ValueError, match="portable"):
        _seal.fingerprints_by("no such kernel", bytes(32), 1, bytes(16), 16)


@pytest.mark.parametrize("code", WIDTHS)
def test_a_seal_key_answers_as_its_parts_do(code):
    rng = random.Random(code)
    secret = rng.randbytes(32)
    seal = _seal.Seal(secret)
    assert seal.key_id == hmac.new(secret, b"hashsieve seal key id 1", hashlib.sha256).digest()[:16]
    assert seal.derive(b"a label") == hmac.new(secret, b"a label", hashlib.sha256).digest()
    for count in (0, 1, 2, 3, 7, 100):
        digests = rng.randbytes(count * WIDTHS[code])
        expected = _seal.fingerprints_by("portable", secret, code, digests, WIDTHS[code]) if count else b""
        assert seal.fingerprints(code, digests) == expected


def test_equal_bytes_under_another_kind_are_another_fingerprint():
    seal = _seal.Seal(bytes(range(32)))
    digest = bytes(32)
    assert seal.fingerprints(3, digest) != seal.fingerprints(4, digest)


def test_what_is_no_key_or_no_digests_is_refused():
    for length in (0, 16, 31, 33, 64):
        with pytest.raises(KeySourceError, match="32 bytes"):
            _seal.Seal(bytes(length))
    seal = _seal.Seal(bytes(32))
    for kind, digests in ((1, bytes(15)), (2, bytes(16)), (0, bytes(16)), (5, bytes(16))):
        with pytest.raises(ValueError):
            seal.fingerprints(kind, digests)


def test_a_closed_key_does_nothing_and_a_key_is_in_no_text_and_no_copy():
    secret = bytes(range(100, 132))
    seal = _seal.Seal(secret)
    for text in (repr(seal), str(seal), repr(vars(type(seal)))):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            way(seal)
    capsule = seal.pin()
    with pytest.raises(UsageError, match="in use"):
        seal.close()
    del capsule
    seal.unpin()
    seal.close()
    seal.close()
    assert seal.closed
    for question in (lambda: seal.fingerprints(1, bytes(16)), lambda: seal.derive(b"x"), seal.pin):
        with pytest.raises(UsageError, match="closed"):
            question()
