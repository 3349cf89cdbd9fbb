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
        int has_placeholders
    const hs_os hs_os_libc
    const char *HS_OS_CAPSULE
    int hs_os_cloud_only(const hs_stat *st) noexcept
    int64_t hs_os_pid() noexcept
    void *hs_os_map(size_t length) noexcept
    void hs_os_unmap(void *memory, size_t length) noexcept

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
        HS_SECTION_ENTRIES, HS_SECTION_GROUPS, HS_SECTION_REFS
        HS_SECTION_MUST_UNDERSTAND, HS_SHAPE_TEST
    ctypedef enum hs_set_status:
        HS_SET_OK, HS_SET_IO, HS_SET_FORMAT, HS_SET_NEWER, HS_SET_DAMAGED, HS_SET_MEMORY, HS_SET_NOT_LOADED
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
        uint64_t page_count
        hs_section sections[1]
        unsigned section_count
        hs_set_kind kinds[4]
        hs_set_shape shapes[16]
        unsigned shape_count
        const hs_section *meta
        const hs_section *groups
        const hs_section *refs
        hs_bloom_probe probe
        hs_sha256_compress compress
    ctypedef struct hs_set_page:
        uint64_t number
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
    hs_set_status hs_set_open(hs_set *set, const hs_os *os, int fd, uint32_t cpu_features, hs_set_error *error)
    void hs_set_close(hs_set *set)
    hs_set_status hs_set_load_kind(hs_set *set, unsigned kind, hs_set_error *error)
    hs_set_status hs_set_read(const hs_set *set, const hs_section *section, uint64_t offset, void *out, uint64_t length,
                              hs_set_page *page, hs_set_error *error)
    hs_set_status hs_set_read_page(const hs_set *set, uint64_t page, hs_set_page *out, hs_set_error *error)
    hs_set_status hs_set_find(const hs_set *set, unsigned kind, const uint8_t *digest, hs_set_page *page, int *found,
                              hs_set_hit *hit, hs_set_error *error)
    uint64_t hs_set_probe(const hs_set *set, unsigned kind, const uint8_t *digests, uint64_t count, uint8_t *may_match)
    void hs_set_collect(const hs_set *set, unsigned kind, const uint8_t *digests, const uint8_t *may_match, uint64_t count,
                        hs_set_candidate *candidates)
    hs_set_status hs_set_confirm(const hs_set *set, unsigned kind, const uint8_t *digests, hs_set_candidate *candidates,
                                 uint64_t count, int64_t *entries, hs_set_page *page, hs_set_error *error)
    hs_set_status hs_set_further(const hs_set *set, unsigned kind, uint64_t row, uint64_t index, hs_set_page *page,
                                 int *found, uint64_t *entry, hs_set_error *error)
    hs_set_status hs_set_entry_at(const hs_set *set, uint64_t entry, hs_set_page *page, hs_set_entry *out,
                                  hs_set_error *error)
    hs_set_status hs_set_digest_at(const hs_set *set, unsigned kind, uint64_t row, hs_set_page *page, uint8_t *digest,
                                   hs_set_error *error)
    void hs_set_hash_page(const uint8_t *set_id, uint32_t section, uint64_t number, const uint8_t *page,
                          hs_sha256_compress compress, uint8_t *out)
    unsigned hs_set_digest_width(unsigned kind)
    unsigned hs_set_width_of(uint64_t largest)

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
    int hs_sizes_have(const hs_sizes *sizes, uint64_t size)
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
    uint64_t hs_text_count_known(const uint8_t *rows, uint64_t count, size_t row_bytes, size_t offset,
                                 size_t digest_bytes, const uint8_t *known, size_t known_count)
