/* SPDX-License-Identifier: MIT */
/* qcow2.h - read qcow2 disk images. The whole public contract of libqcow2.
 *
 * This header is the reference manual. A first program:
 *
 *     struct qcow2_error err = QCOW2_ERROR_INIT;
 *     struct qcow2_image *image;
 *     char sector[512];
 *
 *     if (qcow2_open("disk.qcow2", NULL, &image, &err) < 0) {
 *         fprintf(stderr, "%s\n", err.message);
 *         return 1;
 *     }
 *     if (qcow2_pread(image, sector, sizeof sector, 0, &err) < 0)
 *         fprintf(stderr, "%s\n", err.message);
 *     qcow2_close(image);
 *
 * Build it with:  cc first.c $(pkg-config --cflags --libs libqcow2)
 *
 * What the library does not do: it never writes to an image, starts no threads
 * (qcow2_copy_to_fd and qcow2_copy_to_callback excepted: theirs end with the
 * call), prints nothing, reads no environment and keeps no global state.
 *
 * Threads
 *   After an open call returns, any number of threads may use the image at
 *   once, each with its own error struct, buffer and cursor. qcow2_close must
 *   be the last call and happens after all others have returned. The callbacks
 *   of a source are called from whichever thread reads, several at a time. The
 *   library holds no lock while it calls a source.
 *
 * Return values
 *   0 for done, 1 for "here is one more item", a byte count from qcow2_pread,
 *   and a negative enum qcow2_code for failure. errno is never the answer.
 *
 * Structs that begin with `size`
 *   Set `size` to sizeof the struct (the *_INIT macros do) and everything you
 *   do not use to 0. For structs that go in, a size that is too small, or
 *   non-zero bytes beyond what this library knows, is QCOW2_E_ARGUMENT: a new
 *   program on an old library fails loudly instead of being half obeyed. For
 *   structs that come out, the library fills as much as `size` has room for.
 *
 * Offsets and lengths are bytes unless the name says otherwise. */
#ifndef QCOW2_H
#define QCOW2_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QCOW2_VERSION_MAJOR 0
#define QCOW2_VERSION_MINOR 1
#define QCOW2_VERSION_PATCH 0

/* "0.1.0": the version of the library that runs, which may be newer than the
 * header a program was built with. Never NULL; static storage. */
const char *qcow2_version(void);

/* An open disk image, with the chain of files it stands on. Immutable once
 * open returns, caches and counters aside. */
struct qcow2_image;

/* ------------------------------------------------------------------------ */
/* Errors                                                                   */

/* Whose problem is it? The values are frozen; new ones are appended. */
enum qcow2_code {
    QCOW2_E_ARGUMENT = -1,    /* the call was wrong: a NULL, a bad struct size, unknown flags */
    QCOW2_E_NOMEM = -2,       /* memory could not be allocated */
    QCOW2_E_IO = -3,          /* a source or a target failed; sys_errno says how */
    QCOW2_E_NOT_QCOW2 = -4,   /* another kind of file */
    QCOW2_E_UNSUPPORTED = -5, /* well formed, but newer than this library or not built in */
    QCOW2_E_CORRUPT = -6,     /* a value breaks a rule of the format */
    QCOW2_E_TRUNCATED = -7,   /* the file ends before something it refers to */
    QCOW2_E_LIMIT = -8,       /* over a limit of the options; the message names it */
    QCOW2_E_REFERENCE = -9,   /* the image needs another file, which was not granted or not found */
    QCOW2_E_KEY = -10,        /* encrypted: the key is missing or wrong */
    QCOW2_E_NOT_FOUND = -11,  /* no snapshot, bitmap or layer of that name or number */
    QCOW2_E_CANCELLED = -12   /* a callback asked to stop */
};

/* A word for a code, such as "corrupt"; "success" for 0 and above, "unknown"
 * for a code this library does not have. Static storage. */
const char *qcow2_code_name(int code);

/* Filled by a call that fails; untouched by one that succeeds. Lives in the
 * caller's storage. Every call takes NULL when the details do not matter. */
struct qcow2_error {
    size_t size;
    int code;      /* enum qcow2_code, the same as the call returned */
    int sys_errno; /* errno of the failed system call or callback, or 0 */
    int depth;     /* which file of the chain; 0 is the one that was opened */
    int reserved;
    uint64_t host_offset;  /* place in that file, or UINT64_MAX */
    uint64_t guest_offset; /* place in the virtual disk that could not be read, or UINT64_MAX */
    char message[256];     /* one sentence: the thing, the place, the rule. Printable ASCII or
                            * UTF-8, no newline, always terminated; text that comes from an image is
                            * escaped. Does not name the file: the caller knows what it opened. */
};
#define QCOW2_ERROR_INIT                                                                           \
    {                                                                                              \
        sizeof(struct qcow2_error), 0, 0, 0, 0, UINT64_MAX, UINT64_MAX,                            \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* ------------------------------------------------------------------------ */
/* Sources: where the bytes of an image come from                           */

/* A positional reader supplied by the caller. Members are called from any
 * thread, several at once, and must not touch the image they serve. */
struct qcow2_source {
    size_t size;
    void *ctx;        /* handed to the members below */
    const char *name; /* for messages and qcow2_get_info; copied; may be NULL */

    /* Reads exactly `count` bytes (at least 1) at `offset` into `buf` and returns 0, or returns a
     * positive errno value. There are no short reads: what lies past the end is an error (EIO will
     * do). When get_size is given, no byte past that size is ever asked for. After an error the
     * content of `buf` does not matter, and the same range may be asked for again. */
    int (*read_at)(void *ctx, void *buf, size_t count, uint64_t offset);

    /* The length in bytes; 0 or a positive errno value. Called once, while opening. NULL: the
     * length is not known, and an image that ends inside its last cluster cannot be read there. */
    int (*get_size)(void *ctx, uint64_t *bytes_ret);

    /* Optional. A descriptor on which pread(2) gives the same bytes at the same offsets, for the
     * copy engine's copy_file_range and reflinks; -1 or a NULL member: there is none. It stays the
     * source's own and must be valid until close. */
    int (*get_fd)(void *ctx);

    /* Optional. Runs exactly once, after every other call has returned. */
    void (*close)(void *ctx);
};

/* Ready-made sources. Each fills *source_ret; hand it to qcow2_open_source, or call its close.
 *
 * qcow2_source_from_path opens a regular file or block device read-only (never following it into
 * anything it names; directories, FIFOs, sockets and character devices are refused without
 * blocking). Errors: QCOW2_E_IO, QCOW2_E_ARGUMENT, QCOW2_E_NOMEM.
 *
 * qcow2_source_from_fd reads through a descriptor the caller opened; it must be a regular file or a
 * block device. With close_fd non-zero the source owns `fd` from a successful return on.
 *
 * qcow2_source_from_memory reads `count` bytes at `data`, which stay the caller's and must outlive
 * the source and not change. */
int qcow2_source_from_path(const char *path, struct qcow2_source *source_ret,
                           struct qcow2_error *err);
int qcow2_source_from_fd(int fd, const char *name, int close_fd, struct qcow2_source *source_ret,
                         struct qcow2_error *err);
int qcow2_source_from_memory(const void *data, size_t count, const char *name,
                             struct qcow2_source *source_ret, struct qcow2_error *err);

/* ------------------------------------------------------------------------ */
/* Opening and closing                                                      */

enum qcow2_open_flags {
    /* Read the top layer alone: where it has no data of its own, zeros are returned even though the
     * image names a backing file. */
    QCOW2_OPEN_NO_BACKING = 1 << 0,
    /* For looking at headers only: opens no other file, accepts every image whose header this
     * library understands, also those whose data it cannot read; qcow2_pread, qcow2_next_extent and
     * the copy calls then fail with QCOW2_E_ARGUMENT. */
    QCOW2_OPEN_METADATA_ONLY = 1 << 1,
    /* Tables and data that lie a cluster or more past the end of the file read as zeros, as they do
     * in QEMU, instead of failing with QCOW2_E_TRUNCATED. Compressed data that is cut short fails
     * either way. */
    QCOW2_OPEN_ZEROS_PAST_END = 1 << 2
};

/* How to open. All zero but `size` is the default; NULL means the same. */
struct qcow2_options {
    size_t size;
    uint32_t flags;    /* enum qcow2_open_flags */
    uint32_t reserved; /* 0 */

    /* Memory. Caches are filled as reads need them, so a small image never uses all of it; 0 means
     * the default. A budget smaller than one cache block turns that cache off (1 does so always).
     *   table_cache_bytes    mapping tables, in blocks of 4 KiB; default 8 MiB, which maps 64 GiB of
     *                        disk in 64 KiB clusters
     *   cluster_cache_bytes  decompressed clusters, in blocks of one cluster; default 16 MiB */
    uint64_t table_cache_bytes;
    uint64_t cluster_cache_bytes;
};
#define QCOW2_OPTIONS_INIT                                                                         \
    {                                                                                              \
        sizeof(struct qcow2_options), 0, 0, 0, 0                                                   \
    }

/* Opens the image in a file (as qcow2_source_from_path opens it) and returns 0 with *image_ret set,
 * or a code with *image_ret NULL. `path` is only used during the call.
 *
 * Open reads the header, its extensions and the L1 table; it does not touch data. It refuses, with
 * a code and a sentence, every image that could not be read right: other formats
 * (QCOW2_E_NOT_QCOW2), unknown incompatible features, named as the image names them, and what this
 * version has not learnt (QCOW2_E_UNSUPPORTED), broken header fields (QCOW2_E_CORRUPT), tables
 * outside the file (QCOW2_E_TRUNCATED). Images flagged dirty or corrupt open: their data is
 * readable as far as their tables are. */
int qcow2_open(const char *path, const struct qcow2_options *options,
               struct qcow2_image **image_ret, struct qcow2_error *err);

/* The same for a source. Takes the source over whatever the outcome: its close has run when this
 * fails, and runs at qcow2_close otherwise. The struct itself is copied. The one exception is a
 * malformed source (NULL, a bad size, no read_at): then nothing of it is called. */
int qcow2_open_source(const struct qcow2_source *source, const struct qcow2_options *options,
                      struct qcow2_image **image_ret, struct qcow2_error *err);

/* Frees the image and closes its sources. NULL is fine. */
void qcow2_close(struct qcow2_image *image);

/* ------------------------------------------------------------------------ */
/* Reading                                                                  */

/* Size of the virtual disk in bytes: the header's size rounded down to a multiple of 512, as QEMU
 * presents it. */
uint64_t qcow2_size(const struct qcow2_image *image);

/* Reads `count` bytes of the virtual disk at `offset` into `buf`.
 *
 * Any offset, any length; no alignment rules. Returns the number of bytes read, which is less than
 * `count` only where the disk ends, and 0 at or past its end. On failure a negative code: nothing
 * may be concluded from `buf` then, err->guest_offset is the first byte that could not be read, and
 * the image is as usable as before. The same read later works or fails the same way, unless the
 * source's own answer changes.
 *
 * Errors: QCOW2_E_CORRUPT (a table entry breaks a rule, compressed data does not decode to exactly
 * one cluster), QCOW2_E_TRUNCATED, QCOW2_E_IO, QCOW2_E_NOMEM, QCOW2_E_ARGUMENT (NULL, a count
 * above SSIZE_MAX, an image opened for metadata only). */
ssize_t qcow2_pread(struct qcow2_image *image, void *buf, size_t count, uint64_t offset,
                    struct qcow2_error *err);

enum qcow2_extent_kind {
    QCOW2_EXTENT_HOLE,      /* allocated nowhere; reads as zeros */
    QCOW2_EXTENT_ZERO,      /* stored as "zeros" in the tables */
    QCOW2_EXTENT_DATA,      /* stored as it is, at host_offset */
    QCOW2_EXTENT_COMPRESSED /* stored compressed */
};

/* A run of the virtual disk whose bytes are stored in one way. */
struct qcow2_extent {
    uint64_t offset; /* in the virtual disk */
    uint64_t length; /* at least 1 */
    int kind;        /* enum qcow2_extent_kind */
    int depth; /* the layer that decides: 0 is the image itself. For a hole, the last layer asked */
    uint64_t host_offset; /* DATA: where the first byte lies in that layer's file. ZERO, HOLE: the
                           * cluster that is set aside for it. UINT64_MAX: there is no such place */
    uint64_t reserved;    /* 0 */
};

/* Walks the virtual disk: call with *cursor at the first byte of interest and repeat; each call
 * describes the extent at *cursor, clipped to [*cursor, end), moves *cursor to its end and returns
 * 1. Returns 0 when *cursor has reached `end` or the end of the disk, whichever is first
 * (UINT64_MAX for `end` is fine), and a code on failure, with *cursor not moved.
 *
 * Extents touch and ascend; neighbours may be of one kind, because a call looks at no more than one
 * table of the image at a time: callers that want the longest runs join them. The cost of a
 * full walk follows the number of allocated tables, not the size of the disk. No data is read. */
int qcow2_next_extent(struct qcow2_image *image, uint64_t *cursor, uint64_t end,
                      struct qcow2_extent *extent_ret, struct qcow2_error *err);

/* For a DATA extent: a descriptor on which pread(2) at extent->host_offset gives the extent's bytes
 * exactly, or -1 when there is none (another kind of extent, a source without descriptors, bytes
 * past the end of the file). It stays the image's own, valid until qcow2_close; never close it or
 * write to it. */
int qcow2_extent_fd(const struct qcow2_image *image, const struct qcow2_extent *extent);

/* ------------------------------------------------------------------------ */
/* Counters                                                                 */

/* Each counter is exact; the set is not one instant. All start at 0 at open. */
struct qcow2_stats {
    size_t size;
    uint64_t reads;      /* calls of qcow2_pread with valid arguments, failed ones included */
    uint64_t bytes_read; /* bytes of virtual disk returned by them */
    /* Steps inside those reads, one for each cluster touched (subclusters apart where they differ): */
    uint64_t cluster_reads;        /* all of them */
    uint64_t cluster_holes;        /* answered with zeros: unallocated or zero clusters */
    uint64_t cluster_standard;     /* read as stored */
    uint64_t cluster_compressed;   /* decompressed, or found in the cache */
    uint64_t l2_cache_hits;        /* mapping entries found in the table cache */
    uint64_t l2_cache_misses;      /* table blocks that had to be read */
    uint64_t l2_cache_evictions;   /* table blocks given up for others */
    uint64_t comp_cache_hits;      /* decompressed clusters found in the cluster cache */
    uint64_t comp_cache_misses;    /* clusters that had to be decompressed */
    uint64_t comp_cache_evictions; /* decompressed clusters given up for others */
    uint64_t source_reads;         /* read_at calls made */
    uint64_t source_bytes;         /* bytes asked for by them */
};
#define QCOW2_STATS_INIT                                                                           \
    {                                                                                              \
        sizeof(struct qcow2_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                       \
    }

/* May run at any time, beside reads. */
void qcow2_get_stats(const struct qcow2_image *image, struct qcow2_stats *stats_ret);

/* ------------------------------------------------------------------------ */
/* What the headers say                                                     */

enum qcow2_format { QCOW2_FORMAT_QCOW2 = 0 };
enum qcow2_compression { QCOW2_COMPRESSION_DEFLATE = 0, QCOW2_COMPRESSION_ZSTD = 1 };
enum qcow2_encryption {
    QCOW2_ENCRYPTION_NONE = 0,
    QCOW2_ENCRYPTION_AES = 1,
    QCOW2_ENCRYPTION_LUKS = 2
};

/* Bits of the three feature sets that have a meaning today. */
#define QCOW2_INCOMPATIBLE_DIRTY            (UINT64_C(1) << 0)
#define QCOW2_INCOMPATIBLE_CORRUPT          (UINT64_C(1) << 1)
#define QCOW2_INCOMPATIBLE_DATA_FILE        (UINT64_C(1) << 2)
#define QCOW2_INCOMPATIBLE_COMPRESSION_TYPE (UINT64_C(1) << 3)
#define QCOW2_INCOMPATIBLE_EXTENDED_L2      (UINT64_C(1) << 4)
#define QCOW2_COMPATIBLE_LAZY_REFCOUNTS     (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_BITMAPS             (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_DATA_FILE_RAW       (UINT64_C(1) << 1)

/* Facts of one file of the chain. Strings belong to the image and live until qcow2_close; they are
 * what the image says, byte for byte up to the first NUL, and neither trusted nor escaped. */
struct qcow2_info {
    size_t size;
    int format;              /* enum qcow2_format */
    uint32_t version;        /* 2 or 3 */
    const char *source_name; /* of the source; "" if it has none */
    uint64_t virtual_size;   /* as qcow2_size */
    uint64_t header_size;    /* the size field of the header, not rounded */
    uint64_t file_size;      /* length of the source, UINT64_MAX if not known */
    uint64_t incompatible_features;
    uint64_t compatible_features;
    uint64_t autoclear_features;
    uint32_t cluster_size;  /* bytes, 512 .. 2 MiB */
    uint32_t refcount_bits; /* 1, 2, 4 .. 64 */
    uint32_t header_length; /* bytes, 72 for version 2 */
    int compression;        /* enum qcow2_compression */
    int encryption;         /* enum qcow2_encryption */
    uint32_t l1_entries;
    uint64_t l1_offset;
    uint64_t refcount_table_offset;
    uint32_t refcount_table_clusters;
    uint32_t snapshot_count; /* as the header says */
    uint64_t snapshots_offset;
    const char *backing_file;   /* NULL: none */
    const char *backing_format; /* NULL: not stated */
    const char *data_file;      /* NULL: not stated */
};
#define QCOW2_INFO_INIT                                                                            \
    {                                                                                              \
        sizeof(struct qcow2_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  \
            0, 0                                                                                   \
    }

/* Fills *info_ret for the file at `depth` (0 is the image itself). QCOW2_E_NOT_FOUND: the chain has
 * no such depth. Costs nothing: no I/O, no allocation. */
int qcow2_get_info(const struct qcow2_image *image, int depth, struct qcow2_info *info_ret,
                   struct qcow2_error *err);

enum qcow2_feature_set {
    QCOW2_FEATURES_INCOMPATIBLE = 0,
    QCOW2_FEATURES_COMPATIBLE = 1,
    QCOW2_FEATURES_AUTOCLEAR = 2
};

/* The name of a feature bit (0..63) of a set: as the image's own feature name table gives it, else as
 * the format defines it, else NULL. Untrusted text, terminated; lives until qcow2_close. */
const char *qcow2_get_feature_name(const struct qcow2_image *image, int depth, int feature_set,
                                   int bit);

/* One header extension. */
struct qcow2_extension {
    uint32_t type;        /* as stored, such as 0xE2792ACA */
    uint32_t length;      /* bytes of data */
    uint64_t host_offset; /* of the data in the file */
    const char *name;     /* what the type is called, or NULL for one this library does not know */
    const void *data;     /* `length` bytes, not terminated; belongs to the image */
};

/* Walks the header extensions in file order, the end marker left out: start with *cursor 0; 1 with
 * the next one, 0 at the end, or a code. */
int qcow2_next_extension(const struct qcow2_image *image, int depth, uint64_t *cursor,
                         struct qcow2_extension *extension_ret, struct qcow2_error *err);

/* ------------------------------------------------------------------------ */
/* Copying a whole disk                                                     */

/* These calls start threads; all have ended when they return. */
enum qcow2_copy_flags {
    /* The target already reads as zeros wherever nothing has been written (a fresh device, say), so
     * zeros need not be written or discarded. An empty regular file is known to be so. */
    QCOW2_COPY_TARGET_IS_ZERO = 1 << 0,
    /* Copy stored data without looking for zeros inside it: only what the tables call a hole or zero
     * becomes one. */
    QCOW2_COPY_KEEP_ZEROS = 1 << 1
};

struct qcow2_copy_options {
    size_t size;
    uint32_t flags;   /* enum qcow2_copy_flags */
    uint32_t threads; /* 1 .. 64; 0: one for each processor this process may use, at most 16 */
    uint64_t offset;  /* first byte of the virtual disk to copy; it lands at the target's start */
    uint64_t length;  /* bytes to copy, clipped at the end of the disk; 0: to the end */

    /* Called about ten times a second and at the end, from one thread at a time, with the bytes of
     * disk dealt with so far (holes included; never decreasing) and the total. Non-zero stops the
     * copy with QCOW2_E_CANCELLED. NULL: no progress. */
    int (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    void *progress_ctx;
};
#define QCOW2_COPY_OPTIONS_INIT                                                                    \
    {                                                                                              \
        sizeof(struct qcow2_copy_options), 0, 0, 0, 0, 0, 0                                        \
    }

/* Copies the virtual disk into `fd`, which stays the caller's and must be open for writing.
 *
 * A regular file is emptied, set to the length of the disk and written from its start: runs of zeros
 * of at least 4 KiB (or the file system's block if larger) become holes, and where the file system
 * can share blocks, stored data is shared instead of copied. A block device is written from its
 * start and must be large enough; zeros are discarded or written unless QCOW2_COPY_TARGET_IS_ZERO
 * says they are there already. Anything else (a pipe, a socket, a character device) receives the
 * disk as a stream, in order, zeros included. The descriptor's file offset is of no meaning before
 * and undefined after, streams aside. Nothing is flushed to the medium: call fsync for that.
 *
 * Memory: about 1 MiB and two clusters for each thread, beside the image's caches.
 *
 * Errors: as qcow2_pread; QCOW2_E_IO with sys_errno for the target (ENOSPC, EPIPE, ...);
 * QCOW2_E_CANCELLED. After a failure the target holds an unspecified part of the disk. */
int qcow2_copy_to_fd(struct qcow2_image *image, int fd, const struct qcow2_copy_options *options,
                     struct qcow2_error *err);

/* Receives the next `count` bytes of the disk, which start at `offset` of the virtual disk. `buf`
 * NULL means `count` zeros, and `count` may then be as large as the disk; otherwise the bytes are
 * only there during the call. Non-zero stops with QCOW2_E_CANCELLED. */
typedef int qcow2_copy_callback(void *ctx, const void *buf, uint64_t count, uint64_t offset);

/* Hands the virtual disk to `callback` in order: every byte once, ascending, never two calls at a
 * time (though from different threads), while other threads already read and decompress what comes
 * next. For digests, streams and scans. */
int qcow2_copy_to_callback(struct qcow2_image *image, qcow2_copy_callback *callback, void *ctx,
                           const struct qcow2_copy_options *options, struct qcow2_error *err);

#ifdef __cplusplus
}
#endif
#endif /* QCOW2_H */
