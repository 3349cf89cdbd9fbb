"""Records and listings built in half the time.

A frozen data class assigns its fields by name through ``object.__setattr__``; for lists of millions of rows that was
the largest single cost. Here the slots are set directly, which gives equal objects. Only this package builds so, and a
test holds that both ways agree.
"""

from __future__ import annotations

from collections.abc import Mapping

from hashsieve.model import Listing, Record, Role

__all__ = ["new_listing", "new_record"]

_new = object.__new__

_set_digests = Record.__dict__["digests"].__set__
_set_size_bytes = Record.__dict__["size_bytes"].__set__
_set_listing = Record.__dict__["listing"].__set__
_set_op = Record.__dict__["op"].__set__

_set_source = Listing.__dict__["source"].__set__
_set_role = Listing.__dict__["role"].__set__
_set_category = Listing.__dict__["category"].__set__
_set_ref = Listing.__dict__["ref"].__set__


def new_record(digests: Mapping[str, bytes], size_bytes: int | None, listing: Listing) -> Record:
    """``Record(digests, size_bytes, listing)``."""
    record = _new(Record)
    _set_digests(record, digests)
    _set_size_bytes(record, size_bytes)
    _set_listing(record, listing)
    _set_op(record, "add")
    return record


def new_listing(source: str, role: Role, category: str | None, ref: str | None) -> Listing:
    """``Listing(source, role, category, ref)``."""
    listing = _new(Listing)
    _set_source(listing, source)
    _set_role(listing, role)
    _set_category(listing, category)
    _set_ref(listing, ref)
    return listing
