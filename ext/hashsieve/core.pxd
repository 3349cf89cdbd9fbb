"""Declarations of the plain C headers in ext/core, one section a header. Extern only: nothing is defined here."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

# ---------------------------------------------------------------- hs_os.h: the table of system calls
cdef extern from "hs_os.h" nogil:
    ctypedef struct hs_stat:
        uint64_t dev, ino, size, nlink, mnt_id, blocks_512
        int64_t mtime_ns, ctime_ns, btime_ns
        uint32_t mode, uid, win_attributes, bsd_flags
    enum:
        HS_OPEN_FILE, HS_OPEN_FILE_NOATIME, HS_OPEN_DIR
        HS_DIRENT_INO, HS_DIRENT_RECLEN, HS_DIRENT_TYPE, HS_DIRENT_NAME
        HS_DT_UNKNOWN, HS_DT_FIFO, HS_DT_CHR, HS_DT_DIR, HS_DT_BLK, HS_DT_REG, HS_DT_LNK, HS_DT_SOCK
    ctypedef struct hs_os:
        void *ctx
        int (*openat)(void *ctx, int dirfd, const char *name, int how) noexcept nogil
        int (*statx)(void *ctx, int dirfd, const char *name, hs_stat *out) noexcept nogil
        int64_t (*read)(void *ctx, int fd, void *buffer, size_t length) noexcept nogil
        int64_t (*pread)(void *ctx, int fd, void *buffer, size_t length, uint64_t offset) noexcept nogil
        int64_t (*getdents)(void *ctx, int fd, void *buffer, size_t length) noexcept nogil
        int (*close)(void *ctx, int fd) noexcept nogil
        int64_t (*clock_monotonic_ns)(void *ctx) noexcept nogil
        int64_t (*clock_realtime_ns)(void *ctx) noexcept nogil
        int64_t (*clock_thread_cpu_ns)(void *ctx) noexcept nogil
        int64_t (*pread_uncached)(void *ctx, int fd, void *buffer, size_t length, uint64_t offset) noexcept nogil
        int (*advise)(void *ctx, int fd, uint64_t offset, uint64_t length, int advice) noexcept nogil
        int64_t (*resident_pages)(void *ctx, int fd, uint64_t offset, uint64_t length) noexcept nogil
        int64_t (*next_data)(void *ctx, int fd, uint64_t offset) noexcept nogil
        int (*set_noatime)(void *ctx, int fd) noexcept nogil
        int64_t (*effective_uid)(void *ctx) noexcept nogil
        int64_t (*pwrite)(void *ctx, int fd, const void *buffer, size_t length, uint64_t offset) noexcept nogil
        int has_placeholders
    const hs_os hs_os_libc
    const char *HS_OS_CAPSULE
    int hs_os_cloud_only(const hs_stat *st) noexcept
    int64_t hs_os_pid() noexcept
    void *hs_os_map(size_t length) noexcept
    void hs_os_unmap(void *memory, size_t length) noexcept
    void *hs_os_map_secret(size_t length) noexcept
    void hs_os_unmap_secret(void *memory, size_t length) noexcept

# ---------------------------------------------------------------- hs_remote.h: system calls made by a child
cdef extern from "hs_remote.h" nogil:
    ctypedef struct hs_remote:
        pass
    enum:
        HS_REMOTE_NO_ANSWER, HS_REMOTE_ENDED, HS_REMOTE_BROKEN, HS_REMOTE_STOPS
    int hs_remote_new(hs_remote **out, const hs_os *os, int64_t patience_ns, const volatile uint32_t *const *stops,
                      size_t stop_count) noexcept
    const hs_os *hs_remote_table(const hs_remote *remote) noexcept
    int hs_remote_state(const hs_remote *remote) noexcept
    int64_t hs_remote_child(const hs_remote *remote) noexcept
    int64_t hs_remote_readlink(hs_remote *remote, const char *path, char *target, size_t length) noexcept
    int hs_remote_open_dir(hs_remote *remote, const char *path) noexcept
    void hs_remote_end(hs_remote *remote) noexcept
    int hs_remote_reap(hs_remote *remote) noexcept
    void hs_remote_free(hs_remote *remote) noexcept

# ---------------------------------------------------------------- hs_walk.h: directory trees by handle
cdef extern from "hs_walk.h" nogil:
    ctypedef struct hs_visited:
        size_t slot_count, count, limit_count
        uint64_t unrecorded_count, seed
        void *lock
        void (*acquire)(void *lock) noexcept nogil
        void (*release)(void *lock) noexcept nogil
    void hs_visited_init(hs_visited *visited, size_t limit_count, uint64_t seed) noexcept
    void hs_visited_clear(hs_visited *visited) noexcept
    int hs_visited_add(hs_visited *visited, uint64_t dev, uint64_t ino) noexcept
    enum:
        HS_WALK_FILE, HS_WALK_SPECIAL, HS_WALK_ERROR, HS_WALK_GONE, HS_WALK_SKIPPED
        HS_WALK_OPEN, HS_WALK_LIST, HS_WALK_STAT
        HS_WALK_ALREADY_VISITED
        HS_WALK_MIN_OPEN_DIRS, HS_WALK_MAX_BATCH
    ctypedef struct hs_walk_item:
        const char *name
        uint32_t name_bytes
        uint8_t event, operation, type
        int32_t error, reason
        uint64_t ino
    ctypedef struct hs_walk_dir:
        uint64_t serial, dev, ino, mnt_id
        const char *path
        size_t path_bytes
    ctypedef struct hs_walk_skip:
        const char *path
        size_t path_bytes
        int32_t reason
    ctypedef struct hs_walk:
        pass
    int hs_walk_new(hs_walk **out, const hs_os *os, const char *root, size_t root_bytes, const hs_walk_skip *skips,
                    size_t skip_count, hs_visited *visited, unsigned max_open_dirs) noexcept
    void hs_walk_free(hs_walk *walk) noexcept
    int64_t hs_walk_next(hs_walk *walk, size_t max_count, const hs_walk_item **items, hs_walk_dir *dir) noexcept
    int hs_walk_dir_fd(const hs_walk *walk, uint64_t serial) noexcept
    size_t hs_walk_open_count(const hs_walk *walk) noexcept
    uint64_t hs_walk_entered_count(const hs_walk *walk) noexcept

# ---------------------------------------------------------------- hs_cpu.h, hs_sha256.h
cdef extern from "hs_cpu.h" nogil:
    enum:
        HS_PORTABLE_BUILD, HS_CPU_SSE2, HS_CPU_SSSE3, HS_CPU_SSE41, HS_CPU_AVX2, HS_CPU_SHANI, HS_CPU_NEON, HS_CPU_ARM_SHA1, HS_CPU_ARM_SHA2
    uint32_t hs_cpu_features()
    void hs_cpu_override(uint32_t features)

cdef extern from "hs_sha256.h" nogil:
    ctypedef void (*hs_sha256_compress)(uint32_t *state, const uint8_t *data, size_t block_count) noexcept nogil
    hs_sha256_compress hs_sha256_choose(uint32_t features)
    void hs_sha256_compress_portable(uint32_t *state, const uint8_t *data, size_t block_count)
    ctypedef struct hs_sha256:
        pass
    void hs_sha256_init(hs_sha256 *s, hs_sha256_compress compress)
    void hs_sha256_update(hs_sha256 *s, const void *data, size_t length)
    void hs_sha256_final(hs_sha256 *s, uint8_t *digest)
    void hs_sha256_once(hs_sha256_compress compress, const void *data, size_t length, uint8_t *digest)

# ---------------------------------------------------------------- hs_hmac.h
cdef extern from "hs_hmac.h" nogil:
    enum:
        HS_FINGERPRINT_BYTES, HS_SEAL_KEY_BYTES, HS_KEY_ID_BYTES
    ctypedef struct hs_hmac_key:
        pass
    void hs_hmac_init(hs_hmac_key *key, hs_sha256_compress compress, const void *secret, size_t length)
    void hs_hmac(const hs_hmac_key *key, hs_sha256_compress compress, const void *text, size_t length, uint8_t *mac)
    ctypedef void (*hs_hmac_fn)(const hs_hmac_key *key, uint8_t code, const uint8_t *digests, size_t width, size_t count,
                                uint8_t *out) noexcept nogil
    ctypedef struct hs_hmac_kernel:
        const char *name
        uint32_t needs
        hs_hmac_fn run
    const hs_hmac_kernel *hs_hmac_kernel_table(size_t *count)
    const hs_hmac_kernel *hs_hmac_choose(uint32_t features, int single)
    ctypedef struct hs_seal:
        hs_hmac_key key
        uint8_t key_id[16]
        hs_sha256_compress compress
    void hs_seal_init(hs_seal *seal, const uint8_t *secret, uint32_t features)
    void hs_seal_fingerprints(const hs_seal *seal, unsigned code, const uint8_t *digests, size_t width, size_t count,
                              uint8_t *out)

# ---------------------------------------------------------------- hs_bloom.h, hs_sort.h, hs_port.h, hs_set.h

cdef extern from "hs_bloom.h" nogil:
    enum:
        HS_BLOOM_BLOCK_BYTES
    ctypedef struct hs_bloom:
        const uint8_t *blocks
        uint64_t block_count
    ctypedef size_t (*hs_bloom_probe)(const hs_bloom *filter, const uint8_t *digests, size_t width, size_t count,
                                      uint8_t *may_match) noexcept nogil
    size_t hs_bloom_probe_portable(const hs_bloom *filter, const uint8_t *digests, size_t width, size_t count,
                                   uint8_t *may_match)
    hs_bloom_probe hs_bloom_choose(uint32_t features)
    uint64_t hs_bloom_block_count(uint64_t digest_count, uint64_t millibits)
    void hs_bloom_insert(uint8_t *blocks, uint64_t block_count, uint64_t first_block, const uint8_t *digests,
                         size_t width, size_t count)
    double hs_bloom_fpr(const hs_bloom *filter)

cdef extern from "hs_sort.h" nogil:
    enum:
        HS_SORT_MAX_WIDTH
    ctypedef int (*hs_sort_poll)(void *ctx) noexcept nogil
    int hs_sort_rows(uint8_t *rows, uint64_t count, size_t width, size_t key_bytes, hs_sort_poll poll, void *ctx)

cdef extern from "hs_port.h" nogil:
    void hs_wipe(void *memory, size_t length)
    uint32_t hs_load32be(const void *p)
    uint64_t hs_load64be(const void *p)
    uint64_t hs_load64le(const void *p)
    void hs_store32be(void *p, uint32_t x)
    void hs_store64be(void *p, uint64_t x)
    void hs_store32le(void *p, uint32_t x)
    void hs_store64le(void *p, uint64_t x)
    uint64_t hs_load_le(const uint8_t *p, unsigned width)
    void hs_store_le(uint8_t *p, unsigned width, uint64_t x)

cdef extern from "hs_set.h" nogil:
    enum:
        HS_SET_PAGE_BYTES, HS_SET_HASH_BYTES, HS_SET_HEADER_BYTES, HS_SET_SECTION_BYTES, HS_SET_MAX_SECTIONS
        HS_SET_VERSION, HS_SET_KINDS
        HS_SECTION_META, HS_SECTION_FILTER, HS_SECTION_FENCES, HS_SECTION_TABLE, HS_SECTION_SHARED
        HS_SECTION_ENTRIES, HS_SECTION_GROUPS, HS_SECTION_REFS, HS_SECTION_SEALED
        HS_SET_MAX_SIGNATURES, HS_SET_SIGNATURE_BYTES
        HS_SEALED_SALT_BYTES, HS_SEALED_TAG_BYTES, HS_SEALED_CHUNK_BYTES
        HS_SECTION_MUST_UNDERSTAND, HS_SHAPE_TEST, HS_SET_WINDOW_PAGES
    ctypedef enum hs_set_status:
        HS_SET_OK, HS_SET_IO, HS_SET_FORMAT, HS_SET_NEWER, HS_SET_DAMAGED, HS_SET_MEMORY, HS_SET_NOT_LOADED
        HS_SET_SEALED, HS_SET_WRONG_KEY
    ctypedef struct hs_set_error:
        hs_set_status status
        int os_errno
        uint64_t page
        uint32_t section
        const char *text
    ctypedef struct hs_section:
        uint32_t id, flags
        uint64_t offset, length, count, aux
    ctypedef struct hs_set_kind:
        const hs_section *filter_section
        const hs_section *table_section
        const hs_section *shared_section
        hs_bloom filter
        uint64_t row_count
        unsigned digest_width
    ctypedef struct hs_set_shape:
        uint32_t shape
        uint64_t first_entry, count
    ctypedef struct hs_set:
        int fd
        uint64_t file_bytes, generation, valid_until, entry_count
        uint32_t sizes_policy, filter_millibits
        uint8_t set_id[16]
        uint8_t seal_key_id[16]
        uint8_t root[32]
        uint64_t page_count, page_list_offset, page_list_bytes
        hs_section sections[1]
        unsigned section_count
        hs_set_kind kinds[4]
        hs_set_shape shapes[16]
        unsigned shape_count
        const hs_section *meta
        const hs_section *groups
        const hs_section *refs
        const hs_section *sealed
        hs_seal *seal
        unsigned signature_count
        uint8_t signatures[8][96]
        hs_bloom_probe probe
        hs_sha256_compress compress
    ctypedef struct hs_set_page:
        uint64_t number
    ctypedef struct hs_set_window:
        hs_set_page page
        uint8_t bytes[1]
    ctypedef struct hs_set_hit:
        uint64_t row, entry
        int more
    ctypedef struct hs_set_candidate:
        uint8_t prefix[8]
        uint64_t index
    ctypedef struct hs_set_entry:
        uint32_t shape
        int has_size, group_in_refs
        uint64_t size, group
        uint64_t rows[4]
    hs_set_status hs_set_open(hs_set *set, const hs_os *os, int fd, uint32_t cpu_features, const hs_seal *const *keys,
                              unsigned key_count, hs_set_error *error)
    void hs_set_close(hs_set *set)
    hs_set_status hs_set_load_kind(hs_set *set, unsigned kind, hs_set_error *error)
    hs_set_status hs_set_read(const hs_set *set, const hs_section *section, uint64_t offset, void *out, uint64_t length,
                              hs_set_page *page, hs_set_error *error)
    hs_set_status hs_set_read_page(const hs_set *set, uint64_t page, hs_set_page *out, hs_set_error *error)
    hs_set_status hs_set_read_pages(const hs_set *set, uint64_t first, uint64_t count, uint8_t *bytes, hs_set_error *error)
    hs_set_status hs_set_read_raw(const hs_set *set, uint64_t offset, void *out, uint64_t length, hs_set_error *error)
    uint64_t hs_set_section_run(const hs_set *set, uint64_t first)
    hs_set_status hs_set_find(const hs_set *set, unsigned kind, const uint8_t *digest, hs_set_page *page, int *found,
                              hs_set_hit *hit, hs_set_error *error)
    const uint8_t *hs_set_keys(const hs_set *set, unsigned kind, const uint8_t *digests, uint64_t count, uint8_t *room)
    uint64_t hs_set_probe(const hs_set *set, unsigned kind, const uint8_t *digests, uint64_t count, uint8_t *may_match)
    uint64_t hs_set_collect(const hs_set *set, unsigned kind, const uint8_t *digests, const uint8_t *may_match,
                            uint64_t count, unsigned part, unsigned parts, hs_set_candidate *candidates)
    hs_set_status hs_set_confirm(const hs_set *set, unsigned kind, const uint8_t *digests, hs_set_candidate *candidates,
                                 uint64_t count, int64_t *entries, hs_set_window *window, hs_set_error *error)
    hs_set_status hs_set_further(const hs_set *set, unsigned kind, uint64_t row, uint64_t index, hs_set_page *page,
                                 int *found, uint64_t *entry, hs_set_error *error)
    hs_set_status hs_set_entry_at(const hs_set *set, uint64_t entry, hs_set_page *page, hs_set_entry *out,
                                  hs_set_error *error)
    hs_set_status hs_set_digest_at(const hs_set *set, unsigned kind, uint64_t row, hs_set_page *page, uint8_t *digest,
                                   hs_set_error *error)
    void hs_set_hash_pages(const uint8_t *set_id, uint32_t section, const uint64_t *numbers, const uint8_t *const *pages,
                           size_t count, uint32_t features, uint8_t (*out)[16])
    unsigned hs_set_digest_width(unsigned kind)
    unsigned hs_set_width_of(uint64_t largest)

# ---------------------------------------------------------------- hs_hex.h
cdef extern from "hs_hex.h" nogil:
    enum:
        HS_LINE_BLANK, HS_LINE_OTHER
    ctypedef struct hs_hex_line:
        uint32_t start, length
        uint8_t what
    size_t hs_hex_lines(const uint8_t *text, size_t length, int last, hs_hex_line *lines, size_t room,
                        uint8_t *const *digests, size_t *counts, size_t *consumed)
    void hs_hex_encode(const uint8_t *bytes, size_t count, uint8_t *text)
    int hs_hex_slot(unsigned width)

# ---------------------------------------------------------------- hs_kernels.h, hs_pipe.h
cdef extern from "hs_kernels.h" nogil:
    enum:
        HS_MD5, HS_SHA1, HS_SHA256, HS_KIND_COUNT, HS_LANES_MAX, HS_STATE_WORDS_MAX, HS_DIGEST_BYTES_MAX
        HS_KERNEL_OK, HS_KERNEL_UNKNOWN, HS_KERNEL_NOT_BUILT, HS_KERNEL_NO_CPU
    ctypedef struct hs_kernel:
        const char *name
        int kind
        unsigned lanes
        uint32_t needs
        unsigned step_ns
        void *run
    const hs_kernel *hs_kernel_table(int kind, size_t *count)
    const hs_kernel *hs_kernel_default(int kind, uint32_t features)
    const hs_kernel *hs_kernel_for(int kind, uint32_t features, unsigned live)
    const hs_kernel *hs_kernel_find(int kind, const char *name, uint32_t features, int *status)

# ---------------------------------------------------------------- hs_run.h ... hs_emit.h: making a set
cdef extern from "hs_run.h" nogil:
    enum:
        HS_RUN_STOPPED, HS_RUN_CALLER
    ctypedef struct hs_temp_maker:
        const hs_os *os
        int (*make)(void *ctx) noexcept nogil
        void *ctx
    ctypedef struct hs_spool:
        const hs_temp_maker *maker
        int fd
    void hs_spool_init(hs_spool *spool, const hs_temp_maker *maker, size_t memory_bytes)
    int hs_spool_put(hs_spool *spool, const void *data, size_t length)
    int hs_spool_finish(hs_spool *spool)
    int hs_spool_reserve(hs_spool *spool, uint64_t length, uint64_t *offset)
    void hs_spool_clear(hs_spool *spool)
    uint64_t hs_spool_bytes(const hs_spool *spool)
    size_t hs_store_varint(uint8_t *p, uint64_t value)
    size_t hs_load_varint(const uint8_t *p, const uint8_t *end, uint64_t *value)
    ctypedef struct hs_reader:
        uint8_t *buffer
        size_t at
    int hs_reader_open(hs_reader *reader, const hs_spool *spool, uint64_t offset, uint64_t length, size_t buffer_bytes)
    int64_t hs_reader_need(hs_reader *reader, size_t need)
    void hs_reader_close(hs_reader *reader)
    ctypedef struct hs_cursor:
        int (*next)(hs_cursor *cursor) noexcept nogil
        const uint8_t *row
        unsigned layout
        size_t width
        hs_reader reader
        void *ctx
    ctypedef struct hs_merge:
        unsigned count
    int hs_merge_open(hs_merge *merge, hs_cursor **cursors, unsigned count,
                      int (*order)(const hs_cursor *a, const hs_cursor *b) noexcept nogil)
    void hs_merge_close(hs_merge *merge)
    int hs_merge_next(hs_merge *merge)
    hs_cursor *hs_merge_top(const hs_merge *merge)
    ctypedef struct hs_run:
        uint64_t offset, bytes
        unsigned layout
    ctypedef struct hs_runs:
        hs_run *list
        size_t count
    int hs_runs_add(hs_runs *runs, uint64_t offset, uint64_t bytes, unsigned layout)
    void hs_runs_clear(hs_runs *runs)
    ctypedef struct hs_sorter:
        size_t width
        uint64_t count
    void hs_sorter_init(hs_sorter *sorter, const hs_temp_maker *maker, size_t width, size_t memory_bytes, size_t buffer_bytes,
                        hs_sort_poll poll, void *poll_ctx)
    uint8_t *hs_sorter_add(hs_sorter *sorter, int *status)
    int hs_sorter_finish(hs_sorter *sorter)
    int hs_sorter_rewind(hs_sorter *sorter)
    const uint8_t *hs_sorter_row(const hs_sorter *sorter)
    int hs_sorter_next(hs_sorter *sorter)
    void hs_sorter_clear(hs_sorter *sorter)

cdef extern from "hs_batch.h" nogil:
    enum:
        HS_ROW_PLAIN, HS_ROW_SIZED, HS_ROW_FULL, HS_LAYOUTS, HS_OP_ADD, HS_OP_BASE, HS_OP_CANCEL, HS_SHAPES, HS_KINDS
        HS_MAX_REF_BYTES, HS_ROW_FULL_TAIL
    unsigned hs_shape_bytes(unsigned shape, const uint8_t *widths)
    unsigned hs_row_bytes(unsigned digest_bytes, unsigned layout)
    ctypedef struct hs_row:
        uint64_t size
        uint32_t class_number
        unsigned op, ref
        const uint8_t *ref_at
    hs_row hs_row_parse(const uint8_t *tail, unsigned layout)
    size_t hs_row_store(uint8_t *to, const uint8_t *digests, unsigned digest_bytes, const hs_row *row)
    ctypedef struct hs_batch:
        uint64_t used_bytes
    void hs_batch_init(hs_batch *batch, const uint8_t *widths, uint64_t most_bytes)
    void hs_batch_reset(hs_batch *batch)
    void hs_batch_clear(hs_batch *batch)
    int hs_batch_full(const hs_batch *batch)
    int hs_batch_add(hs_batch *batch, unsigned shape, const uint8_t *digests, const hs_row *row)
    int64_t hs_batch_add_packed(hs_batch *batch, unsigned shape, const uint8_t *digests, uint64_t count, uint32_t class_number)
    uint64_t hs_batch_run_bytes(const hs_batch *batch)
    int hs_batch_spill(hs_batch *batch, hs_spool *spool, uint64_t offset, hs_runs *runs, hs_sort_poll poll, void *poll_ctx)
    int hs_cursor_next_row(hs_cursor *cursor)
    int hs_order_rows(const hs_cursor *a, const hs_cursor *b)

cdef extern from "hs_gather.h" nogil:
    enum:
        HS_GATHER_TOO_MANY_IDS, HS_GATHER_NOT_IN_BASE, HS_MAX_GROUP_BYTES, HS_ROLES, HS_REMOVED_BYTES
    ctypedef struct hs_groups:
        uint8_t *bytes
        uint64_t used, count
    int64_t hs_groups_add(hs_groups *groups, const uint8_t *data, size_t length)
    void hs_removed_key(uint32_t source, const uint8_t *ref, size_t ref_bytes, hs_sha256_compress compress, uint8_t *key)
    ctypedef struct hs_gather:
        const uint8_t *removed
        uint64_t removed_count
        hs_spool refs
        hs_groups groups
        uint64_t entry_count, removed_rows, cancelled_rows
        uint64_t role_counts[5]
        uint64_t largest_size
        int every_size
        uint8_t *used
    ctypedef struct hs_column:
        hs_spool digests, values
        unsigned shape, digest_bytes, lowest_bytes
        uint64_t first_entry, entries
        const uint8_t *test_lowest
        int lowest_shared
        uint64_t before_test
    int hs_gather_init(hs_gather *gather, const hs_temp_maker *maker, size_t spool_bytes, uint32_t class_count,
                       const uint32_t *final_class, const uint32_t *source_of_class, const uint8_t *role_of_class,
                       hs_sha256_compress compress)
    void hs_gather_clear(hs_gather *gather)
    int hs_gather_step(hs_gather *gather, hs_column *column, hs_merge *merge, uint64_t most, uint64_t *rows)
    void hs_gather_end(hs_gather *gather)
    int hs_gather_copy_step(const hs_gather *gather, hs_merge *merge, unsigned digest_bytes, hs_spool *out, uint64_t most,
                            uint64_t *rows)

cdef extern from "hs_pages.h" nogil:
    ctypedef struct hs_pages:
        const hs_os *os
        int fd
        uint8_t set_id[16]
        const hs_kernel *kernel
        uint64_t list_offset
    ctypedef struct hs_section_out:
        uint64_t length
    int hs_section_begin(hs_section_out *section, const hs_pages *pages, uint32_t id, uint64_t offset)
    int hs_section_put(hs_section_out *section, const void *data, size_t length)
    int hs_section_flush(hs_section_out *section)
    void hs_section_free(hs_section_out *section)
    void hs_pages_hash(const uint8_t *set_id, uint32_t section, uint64_t number, const uint8_t *pages, size_t count,
                       const hs_kernel *kernel, uint8_t *hashes)

cdef extern from "hs_tables.h" nogil:
    ctypedef struct hs_table:
        unsigned width
        uint64_t row_count, pair_count, test_row
        int test_alone
    ctypedef struct hs_tables:
        unsigned union_shape
        int implicit
        hs_table table[4]
        uint64_t conflicts
    int hs_tables_init(hs_tables *tables, const hs_temp_maker *maker, hs_column *columns, const uint8_t *widths,
                       uint64_t entry_count, const uint8_t **test, size_t sort_bytes, size_t back_bytes, size_t buffer_bytes,
                       size_t spool_bytes, hs_sort_poll poll, void *poll_ctx)
    void hs_tables_clear(hs_tables *tables)
    int hs_tables_step(hs_tables *tables, unsigned k, uint64_t most, uint64_t *done)
    int hs_conflicts_step(hs_tables *tables, uint64_t most, uint64_t *done)

cdef extern from "hs_emit.h" nogil:
    enum:
        HS_EMIT_MAX_SECTIONS
    ctypedef struct hs_emit:
        unsigned size_width, group_width
    void hs_emit_init(hs_emit *emit, hs_tables *tables, hs_gather *gather, uint64_t millibits, int sealed, uint64_t test_size,
                      uint64_t test_group)
    unsigned hs_emit_plan(const hs_emit *emit, hs_section *sections)
    ctypedef struct hs_emit_kind:
        pass
    int hs_emit_kind_open(hs_emit_kind *part, const hs_emit *emit, unsigned k, const hs_pages *pages, uint64_t filter,
                          uint64_t fences, uint64_t table, uint64_t shared)
    int hs_emit_kind_step(hs_emit_kind *part, uint64_t most, uint64_t *done)
    void hs_emit_kind_close(hs_emit_kind *part)
    ctypedef struct hs_emit_entries:
        pass
    int hs_emit_entries_open(hs_emit_entries *part, const hs_emit *emit, const hs_pages *pages, const uint64_t *offsets,
                             hs_spool *columns)
    int hs_emit_entries_step(hs_emit_entries *part, uint64_t most, uint64_t *done)
    void hs_emit_entries_close(hs_emit_entries *part)
    int hs_emit_spool(const hs_pages *pages, uint32_t id, uint64_t offset, const hs_spool *spool)
    int hs_emit_bytes(const hs_pages *pages, uint32_t id, uint64_t offset, const uint8_t *data, uint64_t length)

cdef extern from "hs_base.h" nogil:
    enum:
        HS_BASE_DAMAGED
    ctypedef struct hs_base:
        unsigned digest_bytes[16]
        uint8_t widths[4]
        hs_set_error error
    ctypedef struct hs_base_sealed:
        int (*read)(void *ctx, int part, uint64_t offset, uint8_t *out, uint64_t length) noexcept nogil
        void *ctx
        unsigned size_width, group_width
        uint64_t lengths[4]
    int hs_base_init(hs_base *base, const hs_set *set, const hs_base_sealed *sealed, const hs_temp_maker *maker,
                     const uint32_t *class_map, uint32_t class_count, size_t memory_bytes, size_t buffer_bytes, const hs_kernel *kernel,
                     hs_sort_poll poll, void *poll_ctx)
    void hs_base_clear(hs_base *base)
    uint64_t hs_base_entries(const hs_base *base, unsigned shape)
    int hs_base_prepare_step(hs_base *base, uint64_t most, uint64_t *done)
    int hs_base_rewind(hs_base *base)
    int hs_base_open(hs_base *base, unsigned shape, hs_cursor **cursor)
    int hs_base_diff_step(hs_cursor *a, hs_cursor *b, unsigned shape, unsigned digest_bytes, uint8_t *out, size_t capacity,
                          size_t *used, uint64_t most, uint64_t *done)

cdef extern from "hs_lanes.h" nogil:
    enum:
        HS_SLOTS_MAX
    ctypedef struct hs_lanes:
        size_t blocks[24]
    void hs_lanes_init(hs_lanes *lanes, const int *kinds, unsigned kind_count, uint32_t features,
                       const hs_kernel *const *forced)
    unsigned hs_lanes_slot_count(const hs_lanes *lanes)
    void hs_lanes_start(hs_lanes *lanes, unsigned slot)
    void hs_lanes_feed(hs_lanes *lanes, unsigned slot, const uint8_t *data, size_t block_count)
    void hs_lanes_feed_tails(hs_lanes *lanes, unsigned slot, const uint8_t *md5_tail, const uint8_t *sha_tail,
                             size_t block_count)
    size_t hs_lanes_step(hs_lanes *lanes)
    void hs_lanes_digest(const hs_lanes *lanes, unsigned slot, unsigned position, uint8_t *digest)

cdef extern from "hs_pipe.h" nogil:
    ctypedef struct hs_candidate:
        int event, operation, type, error, reason, dirfd, fd
        const char *dir
        const char *name
        size_t dir_bytes, name_bytes
        uint64_t dev
    ctypedef struct hs_source:
        void *ctx
        int (*next)(void *ctx, hs_candidate *out) noexcept nogil
        void *lock
        void (*acquire)(void *lock) noexcept nogil
        void (*release)(void *lock) noexcept nogil
    ctypedef struct hs_walk_source:
        pass
    void hs_walk_source_init(hs_walk_source *source, hs_walk *walk)
    int hs_walk_source_next(void *ctx, hs_candidate *out)
    enum:
        HS_LINK_ABSENT, HS_LINK_READING, HS_LINK_ASK, HS_LINK_NOTHING, HS_LINK_KNOWN_GOOD, HS_LINK_UNDECIDED
    ctypedef struct hs_links:
        size_t count
    void hs_links_init(hs_links *links, size_t limit_count)
    void hs_links_clear(hs_links *links)
    uint32_t hs_links_state(const hs_links *links, const hs_stat *st)
    ctypedef struct hs_sizes:
        size_t count
    void hs_sizes_clear(hs_sizes *sizes)
    hs_set_status hs_sizes_add_set(hs_sizes *sizes, const hs_set *set, hs_set_page *page, hs_set_error *error)
    int hs_sizes_add(hs_sizes *sizes, uint64_t size)
    int hs_sizes_have(const hs_sizes *sizes, uint64_t size)
    enum:
        HS_SNIFF_BYTES
    int hs_looks_like_media(const uint8_t *p, size_t have)
    ctypedef struct hs_pipe_set:
        const hs_set *set
        int ruling
    ctypedef struct hs_external_digest:
        void *ctx
        unsigned code
        int (*start)(void *ctx, unsigned slot) noexcept nogil
        int (*update)(void *ctx, unsigned slot, const uint8_t *data, size_t length) noexcept nogil
        int (*finish)(void *ctx, unsigned slot, uint8_t *digest) noexcept nogil
    ctypedef struct hs_pipe_config:
        const hs_os *os
        hs_source *source
        hs_links *links
        const hs_pipe_set *sets
        unsigned set_count
        const int *kinds
        unsigned kind_count
        const hs_external_digest *external
        uint32_t features
        const hs_kernel *const *forced
        uint64_t max_size_bytes
        int media_only
        const hs_sizes *sizes
        int tell_all
        volatile uint32_t *stop
    enum:
        HS_PIPE_WALK, HS_PIPE_NO_MATCH, HS_PIPE_HIT, HS_PIPE_MOVED, HS_PIPE_LINKED, HS_PIPE_ERROR, HS_PIPE_GONE
        HS_PIPE_SPECIAL, HS_PIPE_CLOUD_ONLY, HS_PIPE_TOO_LARGE, HS_PIPE_NOT_MEDIA
        HS_PIPE_OPEN, HS_PIPE_STAT, HS_PIPE_READ, HS_PIPE_KINDS
        HS_PIPE_DONE, HS_PIPE_TICK, HS_PIPE_FULL, HS_PIPE_STOPPED
    ctypedef struct hs_pipe_event:
        int event, walk_event, operation, type, error, reason, fd, settled, link, ended
        char *path
        size_t path_bytes
        hs_stat before, after
        uint64_t bytes_read
        uint8_t digests[4][32]
    ctypedef struct hs_pipe_counters:
        uint64_t no_match, known_good, undecided, bytes_read, gated_empty, gated_size, hole_bytes
    ctypedef struct hs_pipe:
        pass
    hs_pipe *hs_pipe_new(const hs_pipe_config *config)
    void hs_pipe_free(hs_pipe *pipe)
    int hs_pipe_run(hs_pipe *pipe, int64_t nanoseconds)
    const hs_pipe_event *hs_pipe_events(const hs_pipe *pipe, size_t *count)
    const hs_pipe_counters *hs_pipe_count(const hs_pipe *pipe)
    unsigned hs_pipe_slot_count(const hs_pipe *pipe)

# ---------------------------------------------------------------- hs_text.h: plain rows of text lists
cdef extern from "hs_text.h" nogil:
    enum:
        HS_TEXT_MAX_COLUMNS
    ctypedef struct hs_text_rules:
        uint8_t end
        const uint8_t *stops_16
        const uint8_t *stops_20
        const uint8_t *stops_32
        uint32_t stop_count_16, stop_count_20, stop_count_32
    ctypedef struct hs_text_column:
        uint32_t digest_bytes, offset
    uint64_t hs_text_digest_lines(const hs_text_rules *rules, const uint8_t *text, size_t length, unsigned digest_bytes,
                                  uint8_t *out, uint64_t max_rows, size_t *used)
    uint64_t hs_text_sized_rows(const hs_text_rules *rules, const uint8_t *text, size_t length,
                                const hs_text_column *columns, unsigned column_count, unsigned row_bytes, uint8_t *out,
                                int64_t *sizes_bytes, uint64_t max_rows, size_t *used)
    enum:
        HS_TEXT_SIZE, HS_TEXT_EMPTY
    uint64_t hs_text_tagged_lines(const hs_text_rules *rules, const uint8_t *text, size_t length, const uint8_t *tag,
                                  size_t tag_bytes, unsigned digest_bytes, uint8_t *out, uint64_t max_rows, size_t *used)
    uint64_t hs_text_keyed_lines(const hs_text_rules *rules, const uint8_t *text, size_t length, unsigned digest_bytes,
                                 uint8_t separator, uint8_t *out, int64_t *sizes_bytes, uint64_t max_rows, size_t *used)
    uint64_t hs_text_split_rows(const hs_text_rules *rules, const uint8_t *text, size_t length,
                                const hs_text_column *columns, unsigned left_count, unsigned right_count,
                                unsigned row_bytes, uint8_t *out, int64_t *sizes_bytes, uint64_t max_rows, size_t *used)

# ---------------------------------------------------------------- hs_json.h: wanted values in JSON text
cdef extern from "hs_json.h" nogil:
    enum: HS_JSON_MAX_NESTING, HS_JSON_NAME_BYTES, HS_JSON_MEMBERS
    enum: HS_JSON_ODD_NAME, HS_JSON_TOO_DEEP, HS_JSON_SCALAR, HS_JSON_ODD_TEXT, HS_JSON_ESCAPED_NAME
    ctypedef struct hs_json_node:
        char name[32]
        uint8_t name_bytes, contains
        int path, child, next
    ctypedef struct hs_json_member:
        char name[32]
        uint8_t name_bytes
    ctypedef struct hs_json_value:
        size_t start, end
        uint64_t array
        int path
        uint16_t flags
        uint32_t member_start[12]
        uint32_t member_end[12]
    ctypedef enum hs_json_status:
        HS_JSON_OK
        HS_JSON_WANTS_VALUE, HS_JSON_WANTS_CONTAINER, HS_JSON_WANTS_COMMA, HS_JSON_WANTS_NAME, HS_JSON_WANTS_COLON
        HS_JSON_WANTS_PARTNER
        HS_JSON_WANTS_LESS_NESTING, HS_JSON_WANTS_END
    ctypedef struct hs_json:
        pass
    void hs_json_init(hs_json *j, const hs_json_node *nodes, const hs_json_member *members, int member_count, int many)
    hs_json_status hs_json_scan(hs_json *j, const uint8_t *buf, size_t length, size_t *pos, hs_json_value *out,
                                size_t capacity, size_t *count)
    size_t hs_json_needed(const hs_json *j, size_t pos)
    void hs_json_shift(hs_json *j, size_t dropped)
    int hs_json_complete(const hs_json *j)
