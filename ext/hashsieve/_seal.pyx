"""The seal key: fingerprints and derived keys. See _seal.pyi for shapes and errors; ext/core/hs_hmac.c does the work."""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t

cimport hashsieve.core as core

from hashsieve.errors import KeySourceError, UsageError

SEAL_KEY_BYTES = core.HS_SEAL_KEY_BYTES
FINGERPRINT_BYTES = core.HS_FINGERPRINT_BYTES
_WIDTHS = (0, 16, 20, 32, 32)


cdef class Seal:
    """A seal key made ready, in memory that is wiped when it is closed."""

    cdef core.hs_seal *seal
    cdef readonly bytes key_id
    cdef int users

    def __init__(self, const uint8_t[::1] secret not None):
        if self.seal != NULL:
            raise ValueError("a seal key is made once")
        if secret.shape[0] != core.HS_SEAL_KEY_BYTES:
            raise KeySourceError(f"a seal key has {core.HS_SEAL_KEY_BYTES} bytes, not {secret.shape[0]}")
        self.seal = <core.hs_seal *>core.hs_os_map_secret(sizeof(core.hs_seal))
        if self.seal == NULL:
            raise MemoryError
        core.hs_seal_init(self.seal, &secret[0], core.hs_cpu_features())
        self.key_id = PyBytes_FromStringAndSize(<char *>self.seal.key_id, 16)

    def __dealloc__(self):
        core.hs_os_unmap_secret(self.seal, sizeof(core.hs_seal))

    cdef int check(self) except -1:
        if self.seal == NULL:
            raise UsageError("the seal key was closed")
        return 0

    def close(self):
        """Wipes the key. Sets that were opened with it keep their own copy until they are closed."""
        if self.users:
            raise UsageError("the seal key is in use by another thread")
        core.hs_os_unmap_secret(self.seal, sizeof(core.hs_seal))
        self.seal = NULL

    @property
    def closed(self):
        """Was ``close`` called?"""
        return self.seal == NULL

    def fingerprints(self, unsigned kind, const uint8_t[::1] digests not None):
        """16 bytes for each of the packed digests."""
        cdef size_t width, count
        if kind < 1 or kind > 4:
            raise ValueError(f"digest kind codes are 1 to 4, not {kind}")
        width = _WIDTHS[kind]
        count = digests.shape[0] // width
        if count * width != <size_t>digests.shape[0]:
            raise ValueError(f"{digests.shape[0]} bytes are not packed digests of {width} bytes")
        self.check()
        cdef bytes out = PyBytes_FromStringAndSize(NULL, count * core.HS_FINGERPRINT_BYTES)
        cdef uint8_t *to = <uint8_t *>PyBytes_AsString(out)
        if not count:
            return out
        self.users += 1
        try:
            with nogil:
                core.hs_seal_fingerprints(self.seal, kind, &digests[0], width, count, to)
        finally:
            self.users -= 1
        return out

    def derive(self, const uint8_t[::1] text not None):
        """HMAC-SHA-256 of a text that starts with a label: 32 bytes."""
        cdef uint8_t mac[32]
        cdef uint8_t nothing = 0
        self.check()
        core.hs_hmac(&self.seal.key, self.seal.compress, &text[0] if text.shape[0] else &nothing, text.shape[0], mac)
        out = PyBytes_FromStringAndSize(<char *>mac, 32)
        core.hs_wipe(mac, sizeof(mac))
        return out

    def pin(self):
        """A capsule named ``hashsieve.hs_seal`` for another native module; the key cannot be closed until ``unpin``."""
        self.check()
        self.users += 1
        return PyCapsule_New(self.seal, b"hashsieve.hs_seal", NULL)

    def unpin(self):
        """Ends one ``pin``; its capsule must not be used any more."""
        self.users -= 1

    def __repr__(self):
        return f"<Seal {self.key_id.hex()}{', closed' if self.seal == NULL else ''}>"

    def __reduce__(self):
        raise TypeError("a seal key cannot be pickled or copied")

    def __reduce_ex__(self, protocol):
        raise TypeError("a seal key cannot be pickled or copied")


def hmac_sha256(const uint8_t[::1] key not None, const uint8_t[::1] text not None, bint portable=False):
    """Tests: HMAC-SHA-256 by the native code, with a key of any length."""
    cdef core.hs_hmac_key made
    cdef uint8_t mac[32]
    cdef uint8_t nothing = 0
    cdef core.hs_sha256_compress compress = core.hs_sha256_compress_portable if portable else core.hs_sha256_choose(core.hs_cpu_features())
    core.hs_hmac_init(&made, compress, &key[0] if key.shape[0] else &nothing, key.shape[0])
    core.hs_hmac(&made, compress, &text[0] if text.shape[0] else &nothing, text.shape[0], mac)
    return PyBytes_FromStringAndSize(<char *>mac, 32)


def kernels():
    """Tests and benches: names of the fingerprint kernels that run here, the portable one first, as (name, chosen)."""
    cdef size_t count
    cdef const core.hs_hmac_kernel *table = core.hs_hmac_kernel_table(&count)
    cdef uint32_t features = core.hs_cpu_features()
    cdef const core.hs_hmac_kernel *best = core.hs_hmac_choose(features, 0)
    cdef size_t i
    return [(table[i].name.decode("ascii"), &table[i] == best) for i in range(count)
            if table[i].run != NULL and not table[i].needs & ~features]


def fingerprints_by(str kernel not None, const uint8_t[::1] key not None, unsigned code,
                    const uint8_t[::1] digests not None, size_t width):
    """Tests and benches: fingerprints by one kernel, of digests of any width from 1 to 54."""
    cdef size_t count, i, kernel_count
    cdef const core.hs_hmac_kernel *table = core.hs_hmac_kernel_table(&kernel_count)
    cdef const core.hs_hmac_kernel *found = NULL
    cdef core.hs_hmac_key made
    if not 1 <= width <= 54 or not digests.shape[0] or digests.shape[0] % width:
        raise ValueError("packed digests of 1 to 54 bytes")
    names = [name for name, _ in kernels()]
    for i in range(kernel_count):
        if table[i].name.decode("ascii") == kernel and kernel in names:
            found = &table[i]
    if found == NULL:
        raise ValueError(f"no fingerprint kernel {kernel!r} runs here; there are {', '.join(names)}")
    core.hs_hmac_init(&made, core.hs_sha256_compress_portable, &key[0], key.shape[0])
    count = digests.shape[0] // width
    cdef bytes out = PyBytes_FromStringAndSize(NULL, count * core.HS_FINGERPRINT_BYTES)
    cdef uint8_t *to = <uint8_t *>PyBytes_AsString(out)
    with nogil:
        found.run(&made, code, &digests[0], width, count, to)
    return out
