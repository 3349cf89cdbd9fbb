"""Signed sets: whose signature is asked for, what is refused, and that signing changes nothing else."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import set_bytes as sb
import set_maker

from hashsieve import HashSet
from hashsieve.errors import (
    SetDamagedError,
    SetExpiredError,
    SetFormatError,
    SetRollbackError,
    SetSignatureError,
    UsageError,
)
from hashsieve.hashset.signature import SignKey, root_page, sign_set, signer
from helpers import record

OURS, NEXT, THEIRS = (SignKey(bytes([n]) * 32) for n in (1, 2, 3))


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.fixture
def path(make_set, tmp_path):
    return Path(make_set(b"one", record(b"two", "md5", "sha1"), generation=7))


def test_rfc_8032_vector_2():
    secret = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    assert SignKey(secret).public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"


def test_a_signed_set_is_the_set_with_another_last_page(path, tmp_path):
    before = path.read_bytes()
    with HashSet.open(path) as known:
        root = known.root
    assert sign_set(path, [OURS], output=tmp_path / "signed") == root
    signed = (tmp_path / "signed").read_bytes()
    assert path.read_bytes() == before
    assert signed[: -sb.PAGE] == before[: -sb.PAGE]
    assert signed[-sb.PAGE :] == root_page(root, OURS.public + OURS.sign(root))
    with HashSet.open(tmp_path / "signed", trusted_keys=[OURS.public]) as known:
        assert known.signed_by == OURS.public
        assert known.signatures == (OURS.public,)
        assert known.root == root
        known.verify()
        assert known.info()["signature"] == {
            "trusted": OURS.public.hex(),
            "keys": [{"key": OURS.public.hex(), "valid": True}],
        }


def test_what_a_slow_writer_signs_is_taken(tmp_path):
    records = [({"md5": bytes(range(16))}, None, ("s", "known-bad", None), None)]
    made = set_maker.make(records, signatures=[(key.public, key.sign) for key in (THEIRS, OURS)])
    (tmp_path / "s").write_bytes(made)
    with HashSet.open(tmp_path / "s", trusted_keys=[NEXT.public, OURS.public]) as known:
        assert known.signed_by == OURS.public
        assert known.signatures == tuple(sorted((OURS.public, THEIRS.public)))


def test_a_set_signed_by_two_opens_for_whoever_trusts_either(path):
    sign_set(path, [OURS])
    once = path.read_bytes()
    sign_set(path, [NEXT])
    twice = path.read_bytes()
    sign_set(path, [OURS, NEXT])
    assert path.read_bytes() == twice != once
    for trusted in ([OURS.public], [NEXT.public], [THEIRS.public, NEXT.public]):
        HashSet.open(path, trusted_keys=trusted).close()
    with pytest.raises(SetSignatureError, match="none of these is trusted"):
        HashSet.open(path, trusted_keys=[THEIRS.public])


def test_trusted_keys_from_a_file(path, tmp_path):
    sign_set(path, [NEXT])
    trusted = tmp_path / "trusted"
    trusted.write_text(f"# until May\ned25519:{OURS.public.hex()}\ned25519:{NEXT.public.hex()} from April on\n")
    with HashSet.open(path, trusted_keys=trusted) as known:
        assert known.signed_by == NEXT.public
    trusted.write_text(f"ed25519:{OURS.public.hex()}\n")
    with pytest.raises(SetSignatureError):
        HashSet.open(path, trusted_keys=str(trusted))


def test_an_unsigned_set_is_refused_where_a_signature_is_required(path):
    with pytest.raises(SetSignatureError, match="is not signed"):
        HashSet.open(path, trusted_keys=[OURS.public])
    for wrong in ([], [b"short"], ["text"]):
        with pytest.raises(UsageError):
            HashSet.open(path, trusted_keys=wrong)


def test_the_signature_of_another_set_is_refused(path, make_set):
    other = Path(make_set(b"other"))
    sign_set(other, [OURS])
    data = bytearray(path.read_bytes())
    data[-sb.PAGE + 40 :] = other.read_bytes()[-sb.PAGE + 40 :]
    path.write_bytes(data)
    with pytest.raises(SetSignatureError, match="does not fit"):
        HashSet.open(path, trusted_keys=[OURS.public])
    with HashSet.open(path) as known:  # nobody asked for a signature
        assert known.signed_by is None
        assert known.info()["signature"]["keys"] == [{"key": OURS.public.hex(), "valid": False}]
        with pytest.raises(SetDamagedError, match="signature"):
            known.verify()


def test_every_bit_of_a_signature_counts(path):
    sign_set(path, [OURS])
    end = path.stat().st_size - sb.PAGE
    rng = random.Random(1)
    for bit in {
        *range((end + 40) * 8, (end + 48) * 8),
        *(rng.randrange((end + 48) * 8, (end + 144) * 8) for _ in range(60)),
    }:
        flip(path, bit)
        with pytest.raises((SetSignatureError, SetDamagedError)):
            HashSet.open(path, trusted_keys=[OURS.public])
        flip(path, bit)
    for bit in (rng.randrange((end + 144) * 8, (end + sb.PAGE) * 8) for _ in range(30)):
        flip(path, bit)
        with pytest.raises(SetDamagedError, match="signatures"):
            HashSet.open(path)
        flip(path, bit)
    HashSet.open(path, trusted_keys=[OURS.public]).close()


def test_root_pages_that_are_not_in_order_are_refused(path):
    with HashSet.open(path) as known:
        root = known.root
    one, two = sorted(key.public + key.sign(root) for key in (OURS, NEXT))
    body = path.read_bytes()[: -sb.PAGE]
    head = sb.ROOT_MAGIC + root
    for count, rest in ((2, two + one), (2, one + one), (1, one + two), (9, one * 9), (3, one + two), (1, bytes(96))):
        path.write_bytes(body + (head + count.to_bytes(4, "little") + bytes(4) + rest).ljust(sb.PAGE, b"\0"))
        with pytest.raises(SetDamagedError, match="signatures"):
            HashSet.open(path)
    path.write_bytes(body + (head + (2).to_bytes(8, "little") + one + two).ljust(sb.PAGE, b"\0"))
    HashSet.open(path).close()


def test_eight_signatures_and_no_ninth(path):
    keys = [SignKey(bytes([n]) * 32) for n in range(1, 10)]
    sign_set(path, keys[:8])
    with HashSet.open(path, trusted_keys=[keys[7].public]) as known:
        assert len(known.signatures) == 8
    before = path.read_bytes()
    with pytest.raises(UsageError, match="9 signatures"):
        sign_set(path, [keys[8]])
    with pytest.raises(UsageError):
        signer(keys)
    assert path.read_bytes() == before


def test_a_damaged_set_is_not_signed_and_its_old_copy_stays(path):
    data = path.read_bytes()
    rng = random.Random(2)
    for bit in [rng.randrange(len(data) * 8) for _ in range(150)]:
        flip(path, bit)
        damaged = path.read_bytes()
        with pytest.raises((SetDamagedError, SetFormatError)):
            sign_set(path, [OURS])
        assert path.read_bytes() == damaged
        flip(path, bit)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    for content in (b"", b"x" * 10000, data[:4096], data[:-4096]):
        path.write_bytes(content)
        with pytest.raises((SetDamagedError, SetFormatError)):
            sign_set(path, [OURS])


def test_an_older_generation_than_required_is_refused(path):
    for generation in (0, 6, 7):
        HashSet.open(path, minimum_generation=generation).close()
    with pytest.raises(SetRollbackError, match="is generation 7, and at least 8"):
        HashSet.open(path, minimum_generation=8)


def test_the_end_of_validity(tmp_path):
    records = [({"md5": bytes(range(16))}, None, ("s", "known-bad", None), None)]
    path = tmp_path / "s"
    path.write_bytes(set_maker.make(records, valid_until=1_000_000))
    for now, expired in ((999_999.5, False), (1_000_000, False), (1_000_000.5, True), (2e9, True)):
        with HashSet.open(path, clock=lambda now=now: now) as known:
            assert known.expired is expired
            assert known.info()["expired"] is expired
        if expired:
            with pytest.raises(SetExpiredError, match="1970-01-12T13:46:40Z"):
                HashSet.open(path, require_valid=True, clock=lambda now=now: now)
        else:
            HashSet.open(path, require_valid=True, clock=lambda now=now: now).close()
    path.write_bytes(set_maker.make(records))
    with HashSet.open(path, require_valid=True) as known:
        assert not known.expired
