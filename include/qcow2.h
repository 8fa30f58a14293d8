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
 * (qcow2_copy_to_fd, qcow2_copy_to_callback and qcow2_compare excepted: theirs
 * end with the call), prints nothing, reads no environment and keeps no global
 * state.
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
 *   structs that come out, the library fills as much as `size` has room for; a
 *   size of 0 is one that was forgotten, and QCOW2_E_ARGUMENT. (An error struct
 *   that is smaller than the one below is left as it is.)
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
 * anything it names; directories, FIFOs, sockets and character devices are refused without being
 * opened). Errors: QCOW2_E_IO, QCOW2_E_ARGUMENT, QCOW2_E_NOMEM.
 *
 * qcow2_source_from_path_at does the same with `file`, a path relative to `directory`, a descriptor as
 * openat(2) takes it. `name` is what the source is called; NULL: as the file.
 *
 * qcow2_source_from_fd reads through a descriptor the caller opened; it must be a regular file or a
 * block device, whose file offset stays where it is. With close_fd non-zero the source owns `fd` from a
 * successful return on.
 *
 * qcow2_source_from_memory reads `count` bytes at `data`, which stay the caller's and must outlive
 * the source and not change. */
int qcow2_source_from_path(const char *path, struct qcow2_source *source_ret,
                           struct qcow2_error *err);
int qcow2_source_from_path_at(int directory, const char *file, const char *name,
                              struct qcow2_source *source_ret, struct qcow2_error *err);
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
    /* For looking at headers only: opens no other file, asks for no key, and accepts every image
     * whose header this library understands; qcow2_pread, qcow2_next_extent and what builds on them
     * then fail with QCOW2_E_ARGUMENT. Snapshots and bitmaps can be listed. */
    QCOW2_OPEN_METADATA_ONLY = 1 << 1,
    /* Tables and data that lie a cluster or more past the end of the file read as zeros, as they do
     * in QEMU, instead of failing with QCOW2_E_TRUNCATED. Compressed data that is cut short fails
     * either way. */
    QCOW2_OPEN_ZEROS_PAST_END = 1 << 2,
    /* With a snapshot: the state of the virtual machine saved with it, as if that were the disk. */
    QCOW2_OPEN_VM_STATE = 1 << 3,
    /* With METADATA_ONLY: the backing files are opened, as far as they are granted, to be looked at in
     * the same way; external data files are not. */
    QCOW2_OPEN_METADATA_CHAIN = 1 << 4,
    /* The snapshot at `snapshot_index` of the options, in place of one given by id or name. */
    QCOW2_OPEN_SNAPSHOT_INDEX = 1 << 5
};

enum qcow2_format {
    QCOW2_FORMAT_QCOW2 = 0, /* versions 2 and 3; as an option, version 1 too */
    QCOW2_FORMAT_RAW = 1,   /* the bytes of the file are the bytes of the disk */
    QCOW2_FORMAT_QCOW1 = 2, /* version 1 */
    QCOW2_FORMAT_PROBE = 3  /* not stated: what the first bytes say */
};

enum qcow2_reference_kind { QCOW2_REFERENCE_BACKING_FILE = 0, QCOW2_REFERENCE_DATA_FILE = 1 };

/* A request by an image for another file. All strings are untrusted but the referrer's name, and only
 * there during the call. */
struct qcow2_reference {
    size_t size;
    int kind;             /* enum qcow2_reference_kind */
    int depth;            /* of the file that asks; 0 is the image itself */
    const char *name;     /* as stored, up to its first NUL; never empty */
    const char *format;   /* as stored: "qcow2", "raw", ...; NULL if the image does not say */
    const char *referrer; /* name of the source that asks; "" if it has none */
};

/* Decides about a request: opens the file and returns 0 with *source_ret filled, which the library then
 * owns, or returns a code, QCOW2_E_REFERENCE above all, with err filled if it likes. *format_ret comes
 * in as what the image says (PROBE if nothing) and may be changed. A data file is always raw.
 *
 * A file that was recognised by probing alone is not granted further files: its content, and so the
 * names in it, may be a guest's. */
typedef int qcow2_grant_fn(void *ctx, const struct qcow2_reference *reference,
                           struct qcow2_source *source_ret, int *format_ret,
                           struct qcow2_error *err);

/* The directories beneath which qcow2_grant_beneath opens files; its `ctx`. They are held open, so it does
 * not matter what happens to their names. A descriptor of O_PATH will do; one that is negative allows
 * nothing. */
struct qcow2_grant_directories {
    size_t size;
    size_t count;
    const int *fds;
    /* What each of them is called: an image whose name begins so has its references resolved from the
     * descriptor. NULL, and NULL entries: such names are resolved from the working directory. */
    const char *const *names;
};

/* In short: opens the directories `paths` for qcow2_grant_beneath.
 *
 * Returns 0 with *directories_ret filled; the paths are copied. Close it with qcow2_grant_directories_close when no
 * image is going to be opened with it any more; images that are open do not need it. On failure
 * (QCOW2_E_IO with the directory that cannot be opened, QCOW2_E_NOMEM, QCOW2_E_ARGUMENT) nothing
 * is held. */
int qcow2_grant_directories_open(const char *const *paths, size_t count,
                                 struct qcow2_grant_directories *directories_ret,
                                 struct qcow2_error *err);
/* Closes the descriptors and frees the names of what qcow2_grant_directories_open has filled. NULL is fine. */
void qcow2_grant_directories_close(struct qcow2_grant_directories *directories);

/* The ready-made grant: opens regular files beneath directories that the caller holds open, read-only.
 *
 * A relative name is resolved from the directory of the referrer's name (also a data file's: QEMU would
 * take that from its working directory), an absolute one as it is. "..", symbolic links and mounts are
 * followed wherever they lead on the way; what counts is that the directory in which the file is found
 * lies beneath one of those allowed, or is one. A file system that is mounted beneath an allowed
 * directory belongs to it. Nothing is opened before it is known to be a regular file. Names with a protocol
 * prefix ("json:", "nbd:", "file:", ...), and everything but regular files, are refused. A count
 * of 0 refuses all. QCOW2_E_REFERENCE with the reason. */
int qcow2_grant_beneath(void *directories, const struct qcow2_reference *reference,
                        struct qcow2_source *source_ret, int *format_ret, struct qcow2_error *err);

/* Asked for the passphrase of an encrypted file of the chain: writes at most buf_bytes bytes of it to
 * `buf`, the length to *length_ret, and returns 0; or returns a code (QCOW2_E_KEY: there is none).
 * `name` is the source's. The buffer is wiped after use. Called while opening only. */
typedef int qcow2_key_fn(void *ctx, int depth, const char *name, char *buf, size_t buf_bytes,
                         size_t *length_ret);

/* How to open. All zero but `size` is the default; NULL means the same. */
struct qcow2_options {
    size_t size;
    uint32_t flags; /* enum qcow2_open_flags */

    /* Files in the chain, the image itself included; 0: 256. More fail with QCOW2_E_LIMIT. */
    uint32_t max_chain_depth;

    /* enum qcow2_format: what the image itself is. RAW opens any file as a disk. PROBE does so with what
     * is no qcow image: only for files whose content is trusted, since a guest can write a qcow2 header
     * to a raw disk. */
    uint32_t format;

    /* With QCOW2_OPEN_SNAPSHOT_INDEX, else 0: which snapshot of the image is read in place of the live
     * disk, by its place in the table: 0 is the first that qcow2_next_snapshot returns. Ids and names need
     * not be unique, places are. QCOW2_E_NOT_FOUND: the table has no such place. */
    uint32_t snapshot_index;

    /* Memory. Caches are filled as reads need them, so a small image never uses all of it; 0 means
     * the default. A budget smaller than two cache blocks turns that cache off (1 does so always).
     *   table_cache_bytes    mapping tables, in blocks of 4 KiB; default 8 MiB, which maps 64 GiB of
     *                        disk in 64 KiB clusters
     *   cluster_cache_bytes  decompressed clusters, in blocks of one cluster; default 16 MiB */
    uint64_t table_cache_bytes;
    uint64_t cluster_cache_bytes;

    /* An internal snapshot of the image, to be read in place of the live disk: its id or, if none has
     * that, its name; of several, the first in the table. The disk then has the size that it had. NULL: the
     * live disk, or the snapshot at snapshot_index. QCOW2_E_NOT_FOUND; together with METADATA_ONLY or
     * SNAPSHOT_INDEX, QCOW2_E_ARGUMENT. */
    const char *snapshot;

    /* Decides about files that the image refers to. NULL: qcow2_open grants regular files beneath the
     * image's own directory if it has one (qcow2_open_directory_of), qcow2_open_source grants nothing. */
    qcow2_grant_fn *grant;
    void *grant_ctx;

    /* Passphrases. NULL: encrypted images fail with QCOW2_E_KEY. */
    qcow2_key_fn *get_key;
    void *get_key_ctx;
    /* The most work that one open may spend on passphrases, all key slots of all files of the chain
     * together, in iterations of PBKDF2. An image chooses their number, so it must be bounded.
     *   work of one slot = (slot iterations + 16000) x digests(key) + digest iterations x digests(20)
     *   digests(n)       = n bytes, divided by the length of the hash, rounded up
     * times 4 unless the hash is SHA-1 or SHA-256. 0: QCOW2_DEFAULT_MAX_KEY_ITERATIONS. Slots that would
     * take more than is left are skipped; if the passphrase fits no other, QCOW2_E_LIMIT. */
    uint64_t max_key_iterations;
};
/* 8 key slots or files, a key of 2 digests, 10 x 2^20 iterations: 167,772,160, which takes up to half a minute.
 * A slot that qemu-img makes takes 4 to 20 million, by the speed of the machine that it ran on. */
#define QCOW2_DEFAULT_MAX_KEY_ITERATIONS (UINT64_C(8) * 2 * 10 * 1048576)

#define QCOW2_OPTIONS_INIT                                                                         \
    {                                                                                              \
        sizeof(struct qcow2_options), 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, 0            \
    }

/* In short: opens the directory in which `path` names an image, once and for all uses of it.
 *
 * qcow2_open does so itself. A program that makes its own source and grant calls this first, then
 * qcow2_source_from_path_at with the descriptor and the name, and hands the descriptor to
 * qcow2_grant_directories, so that no one who exchanges a part of the path can come between.
 *
 * Returns 1 with *fd_ret (the caller's to close) and *name_ret (the last component; within `path`, or ".") if
 * the directory is the image's own: what lies beneath may be granted to it. Returns 0 with the same where it is not: the
 * directory is the root, /dev, or one of open descriptors (/proc/self/fd, /dev/fd, so /dev/stdin too), or the
 * path names no regular file. Or returns QCOW2_E_IO, QCOW2_E_NOMEM or QCOW2_E_ARGUMENT, with *fd_ret
 * -1. */
int qcow2_open_directory_of(const char *path, int *fd_ret, const char **name_ret,
                            struct qcow2_error *err);

/* Opens the image in a file (as qcow2_source_from_path opens it) and returns 0 with *image_ret set,
 * or a code with *image_ret NULL. `path` is only used during the call.
 *
 * Open reads the header, its extensions and the L1 table; it does not touch data. It refuses, with
 * a code and a sentence, every image that could not be read right: other formats
 * (QCOW2_E_NOT_QCOW2), unknown incompatible features, named as the image names them, and what this
 * version has not learnt (QCOW2_E_UNSUPPORTED), broken header fields (QCOW2_E_CORRUPT), tables
 * outside the file (QCOW2_E_TRUNCATED). Images flagged dirty or corrupt open: their data is
 * readable as far as their tables are.
 *
 * Memory, whatever the image says: opening takes at most 4 MiB and the length of the file for each file of
 * the chain, and at most 40 MiB and 32 KiB for each file (192 KiB if the file is encrypted with CAST5). L1
 * tables of all files together take at most 16 MiB of that: others are read through the table cache. Header
 * extensions of all files together may have at most 8 MiB, those of files with less than 4 KiB not counted:
 * QCOW2_E_LIMIT. An open image takes its caches in addition, and at most 64 MiB that calls keep for later
 * calls, however many threads read: with the default caches at most 128 MiB and 32 KiB for each file in all.
 * Calls that are running take what qcow2_pread says. Larger cache budgets take a part of themselves from
 * the start.
 *
 * Work: four reads of each file, nine more with LUKS, two for each snapshot the image has if one is asked
 * for, and what max_key_iterations allows for all files together. */
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
 * Work, whatever the image says: for each cluster of the range (each subcluster, where the image has
 * them; the smallest of a chain) and each file of the chain at most 6 reads of 4 KiB of tables, and
 * one of data. A compressed cluster is read in one piece, of 256 KiB or two clusters if those are more,
 * and decoded once.
 *
 * Memory, for each call that runs at the same time: one such piece, one cluster, what the decoder needs
 * (512 KiB, and another cluster for zstd) and 8 KiB for each encrypted file of the chain. Of this the image
 * keeps at most 64 MiB for later calls.
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
    /* COMPRESSED: where the stream of the cluster starts in the file. Else UINT64_MAX. Only good for
     * telling whether two extents are one. */
    uint64_t stream_offset;
};

/* Walks the virtual disk: call with *cursor at the first byte of interest and repeat; each call
 * describes the extent at *cursor, clipped to [*cursor, end), moves *cursor to its end and returns
 * 1. Returns 0 when *cursor has reached `end` or the end of the disk, whichever is first
 * (UINT64_MAX for `end` is fine), and a code on failure, with *cursor not moved.
 *
 * Extents touch and ascend; neighbours may be of one kind, because a call looks at no more than one
 * table of the image at a time: callers that want the longest runs join them. The cost of a
 * full walk follows the number of allocated tables, not the size of the disk. No data is read. Of each
 * file of the chain a call looks at one L2 table at most or at 65536 L1 entries, in at most one read of
 * 4 KiB for 32 of them. */
int qcow2_next_extent(struct qcow2_image *image, uint64_t *cursor, uint64_t end,
                      struct qcow2_extent *extent_ret, struct qcow2_error *err);

/* A bound for walks over the whole disk: 2^20, and 4 for each byte that the files of the chain store (on their
 * file systems, or their lengths where a source has no descriptor). In an image in which no two tables
 * overlap a walk has fewer extents, because each needs its own table entry. A broken image can name one
 * table from all L1 entries, so that a few kilobytes have more extents than any program can wait for: past this
 * number a walk may be given up. */
uint64_t qcow2_max_extents(const struct qcow2_image *image);

/* The same for the table entries that a walk examines, which qcow2_get_stats counts (l2_cache_hits and
 * l2_cache_misses): 2^28, and 4 for each extent that qcow2_max_extents allows and each file of the chain. One extent
 * can run over the entries of a whole table. */
uint64_t qcow2_max_lookups(const struct qcow2_image *image);

/* For a DATA extent: a descriptor on which pread(2) at extent->host_offset gives the extent's bytes
 * exactly, or -1 when there is none (another kind of extent, a source without descriptors, bytes
 * past the end of the file). It stays the image's own, valid until qcow2_close; never close it or
 * write to it. */
int qcow2_extent_fd(const struct qcow2_image *image, const struct qcow2_extent *extent);

/* 1 if lseek(2) may be called on that descriptor, with SEEK_DATA and SEEK_HOLE to ask for holes of the file:
 * the library opened the file itself, by a path, and reads it with pread(2) alone, so nothing depends on the
 * file offset. Any thread; several may ask at once. 0: there is no descriptor, or its offset may be
 * another's, as it always may on systems other than Linux. */
int qcow2_extent_may_seek(const struct qcow2_image *image, const struct qcow2_extent *extent);

/* 1 if what `fd` leads to is a file or device that the image is read from: its own, a backing file's or a
 * data file's, whatever the names by which they were opened. A loop device over such a file is another. 0: it is
 * not, as far as the sources have descriptors to tell by. Any thread. */
int qcow2_has_file(const struct qcow2_image *image, int fd);

/* 1 if the extents, each one of its image and both at the same place of their disks, are stored in the
 * same place of the same file and so have the same bytes (as far as both are long), which is then known
 * without reading them. 0: they may or may not. */
int qcow2_extent_same(const struct qcow2_image *image_a, const struct qcow2_extent *a,
                      const struct qcow2_image *image_b, const struct qcow2_extent *b);

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
    int format;              /* enum qcow2_format; of a raw file only the sizes and names count */
    uint32_t version;        /* 1, 2 or 3; 0: raw */
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

/* What a LUKS header says, with the words that QEMU uses. */
struct qcow2_luks_slot {
    int active;
    uint32_t iterations;
    uint32_t stripes;
    uint64_t key_offset; /* of the key material, bytes from the start of the LUKS header */
};
struct qcow2_luks_info {
    size_t size;
    char cipher[16];         /* "aes-256" */
    char cipher_mode[8];     /* "xts" */
    char iv_generator[16];   /* "plain64" */
    char iv_hash[16];        /* "sha256", or "" where the generator has none */
    char hash[16];           /* "sha256" */
    char uuid[48];           /* untrusted text */
    uint64_t payload_offset; /* bytes */
    uint64_t header_offset;  /* of the LUKS header in the file, bytes */
    uint64_t header_length;
    uint32_t master_key_iterations;
    struct qcow2_luks_slot slots[8];
    /* Of one passphrase in all active slots, in iterations of PBKDF2, counted as for max_key_iterations. */
    uint64_t passphrase_work;
};
#define QCOW2_LUKS_INFO_INIT                                                                       \
    {                                                                                              \
        sizeof(struct qcow2_luks_info), { 0 }, { 0 }, { 0 }, { 0 }, { 0 }, { 0 }, 0, 0, 0, 0,      \
            { { 0, 0, 0, 0 } }, 0                                                                  \
    }

/* Reads and checks the LUKS header of the file at `depth`; no key is needed. QCOW2_E_NOT_FOUND: it has
 * none. */
int qcow2_get_luks_info(const struct qcow2_image *image, int depth,
                        struct qcow2_luks_info *info_ret, struct qcow2_error *err);

/* ------------------------------------------------------------------------ */
/* Internal snapshots                                                       */

struct qcow2_snapshot {
    char id[128];           /* untrusted text, cut to what fits, as QEMU cuts it */
    char name[256];         /* the same */
    uint64_t disk_size;     /* of the disk it shows, bytes */
    uint64_t vm_state_size; /* bytes; 0: none was saved */
    uint64_t date_seconds;  /* since 1970 */
    uint32_t date_nanoseconds;
    uint32_t reserved;
    uint64_t vm_clock_nanoseconds;
    uint64_t icount; /* UINT64_MAX: not recorded */
};

/* Walks the snapshots of the image itself, in the order of the table: start with *cursor 0; 1 with the
 * next one, 0 at the end, or a code. A table that is broken costs the snapshots behind the break, never
 * the disk. Reads the file: at most twice, 132 KiB. */
int qcow2_next_snapshot(const struct qcow2_image *image, uint64_t *cursor,
                        struct qcow2_snapshot *snapshot_ret, struct qcow2_error *err);

/* ------------------------------------------------------------------------ */
/* Dirty bitmaps                                                            */

enum qcow2_bitmap_flags {
    QCOW2_BITMAP_IN_USE = 1 << 0, /* not closed properly: its content means nothing */
    QCOW2_BITMAP_AUTO = 1 << 1    /* QEMU goes on recording when it opens the image */
};

struct qcow2_bitmap {
    char name[1024];      /* untrusted text */
    uint64_t granularity; /* bytes of disk to a bit, a power of two */
    uint32_t flags;       /* enum qcow2_bitmap_flags */
    uint32_t table_entries;
    uint64_t table_offset;
};

/* Walks the bitmaps of the image itself: start with *cursor 0; 1 with the next one, 0 at the end (also
 * where the image says that its bitmaps are out of date), or a code: the directory is broken, or the
 * bitmap is. Reads the file: once, 2 KiB. */
int qcow2_next_bitmap(const struct qcow2_image *image, uint64_t *cursor,
                      struct qcow2_bitmap *bitmap_ret, struct qcow2_error *err);

/* Walks the dirty ranges of a bitmap as qcow2_next_bitmap gave it: the next range at or behind *cursor,
 * clipped to end and to the disk; *cursor moves behind it. 1, 0 at the end, or a code, such as
 * QCOW2_E_CORRUPT for one that is in use. Neighbouring ranges may touch. Reads the file: twice for each
 * 4 KiB of bits that it passes, of which a bitmap has at most 512 MiB. */
int qcow2_next_dirty(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
                     uint64_t *cursor, uint64_t end, uint64_t *offset_ret, uint64_t *length_ret,
                     struct qcow2_error *err);

/* ------------------------------------------------------------------------ */
/* Checking                                                                 */

enum qcow2_finding_kind {
    QCOW2_FINDING_CORRUPTION = 0, /* data may be wrong or go wrong */
    QCOW2_FINDING_LEAK = 1,       /* space that nothing refers to */
    QCOW2_FINDING_UNCHECKED = 2   /* could not be checked */
};

/* What `qemu-img check` counts, by its names. Clusters are clusters, offsets bytes. */
struct qcow2_check_result {
    size_t size;
    uint64_t corruptions;
    uint64_t leaks;
    uint64_t check_errors;
    uint64_t image_end_offset;
    uint64_t total_clusters;
    uint64_t allocated_clusters;
    uint64_t fragmented_clusters;
    uint64_t compressed_clusters;
};
#define QCOW2_CHECK_RESULT_INIT                                                                    \
    {                                                                                              \
        sizeof(struct qcow2_check_result), 0, 0, 0, 0, 0, 0, 0, 0                                  \
    }

/* Receives a finding: its kind, where in the file, and a sentence, or NULL past max_messages. Non-zero stops
 * the check with QCOW2_E_CANCELLED. */
typedef int qcow2_check_callback(void *ctx, int kind, uint64_t host_offset, const char *message);

/* Bounds of a check. All zero but `size` is the default; NULL means the same. An image may name one part of
 * its file again and again, and a file may be long and mostly hole: the defaults follow what is stored,
 * that is, the blocks that the file takes on its file system, or its length where the source has no
 * descriptor. An image in which no two tables overlap stays within them unless its file is mostly holes, in
 * its tables too, or has more than 2^28 clusters: then set the bounds. */
struct qcow2_check_options {
    size_t size;
    /* Memory. 0: 64 MiB and a byte for each byte stored, but no more than 1 GiB. */
    uint64_t max_memory_bytes;
    /* Work, in table entries of 8 bytes. 0: 2^26 and one for each byte stored, but no more than 2^34.
     * Entries in holes of the file count too.
     * UINT64_MAX: no bound. */
    uint64_t max_entries;
    /* So many findings have a sentence; those after them are counted, and the callback is called for them
     * with NULL, which takes a tenth of the time. 0: all have one. */
    uint64_t max_messages;
};
#define QCOW2_CHECK_OPTIONS_INIT                                                                   \
    {                                                                                              \
        sizeof(struct qcow2_check_options), 0, 0, 0                                                \
    }

/* Walks all references of the image itself and compares them with its refcounts; changes nothing.
 * Returns 0 with *result_ret filled when the walk came to its end, whatever it found, and a code when
 * it could not: a broken snapshot table or bitmap directory ends it, as it ends QEMU's. `callback` may be
 * NULL; one finding may stand for several counts. Works on an image opened for metadata only as well,
 * and then also on one without a refcount table, which otherwise does not open.
 *
 * Memory: 4 bytes for each cluster of the file, 96 for each L2 table and 32 for each snapshot. Tables that
 * several snapshots share are read once. Beyond a bound of the options: QCOW2_E_LIMIT, before the memory
 * is allocated or the work done. QCOW2_E_UNSUPPORTED: the format has no refcounts (version 1, raw), or the
 * length of the source is not known. */
int qcow2_check(struct qcow2_image *image, const struct qcow2_check_options *options,
                qcow2_check_callback *callback, void *ctx, struct qcow2_check_result *result_ret,
                struct qcow2_error *err);

/* ------------------------------------------------------------------------ */
/* Surveying an image that nobody vouches for                               */

/* What no sound image has, though some of it may be read. */
enum qcow2_anomaly {
    QCOW2_ANOMALY_OUTSIDE = 0,   /* a table or data lies outside the file */
    QCOW2_ANOMALY_UNALIGNED = 1, /* ... does not begin where a cluster does */
    QCOW2_ANOMALY_OVERLAP = 2,   /* a table shares its place: with data, with another table, or with
                                       * itself, the disk naming an L2 table twice */
    QCOW2_ANOMALY_SHARED = 3,    /* the disk names stored or compressed data twice */
    QCOW2_ANOMALY_ENTRY = 4,     /* an L2 entry contradicts itself, so its cluster cannot be read */
    QCOW2_ANOMALY_RESERVED = 5,  /* an entry has bits set that have no meaning */
    QCOW2_ANOMALY_SNAPSHOT_TABLE = 6, /* the snapshot table is broken */
    QCOW2_ANOMALY_BITMAPS = 7,        /* the bitmaps are broken */
    /* A table has bytes without a meaning where QEMU writes zeros, or nothing. */
    QCOW2_ANOMALY_STRAY = 8,
    /* The same where QEMU leaves what the cluster held before: after the end of a table, and in entries for
     * what lies past the end of the disk or of the file. */
    QCOW2_ANOMALY_SLACK = 9
};

/* How often an anomaly was seen, and the first of them. */
struct qcow2_anomalies {
    uint64_t count;
    uint64_t host_offset; /* of what is wrong, as the image says it; of entries their own */
    const char *what;     /* "L2 table" and the like: static storage; NULL if count is 0 */
};

/* Sums are of what the tables say: upper bounds of what reading finds, data files and backing files left
 * out. */
struct qcow2_survey_result {
    size_t size;
    struct qcow2_anomalies anomalies[16]; /* by enum qcow2_anomaly; those behind are for later */

    /* The disk. What is neither stored nor compressed takes no work to read. */
    uint64_t stored_bytes;         /* of the disk, stored as they are */
    uint64_t compressed_bytes;     /* of the disk, stored compressed */
    uint64_t stream_bytes;         /* all streams of those together */
    uint64_t longest_stream_bytes; /* 0: nothing is compressed */
    uint64_t l1_entries_needed;    /* by a disk of this size */
    uint64_t snapshots;            /* that the snapshot table really has */
    uint64_t snapshots_with_state; /* those of them that hold the state of a machine */
    uint64_t bitmaps;

    /* The file, in clusters: each is one of these, or lies behind the last one that is used. */
    uint64_t table_clusters;  /* header and tables */
    uint64_t data_clusters;   /* data of the disk, of snapshots, of bitmaps */
    uint64_t unused_clusters; /* nothing names them */
    uint64_t leftover_bytes;  /* of the file, behind the last cluster that is used */

    /* What this library takes to read the image, with default caches: memory for opening it, for its
     * caches when they are full, and for each thread that reads. */
    uint64_t open_memory_bytes;
    uint64_t cache_memory_bytes;
    uint64_t thread_memory_bytes;
    /* The most bytes that are read from the file, decrypted and decompressed for the sake of one byte. */
    uint64_t byte_work_bytes;

    /* The snapshots, each by itself: the largest disk, the largest state of a machine, and what the one that
     * stores most stores, decompressed and its state included. Of one whose L1 table is not in the file, or
     * not alone in its place, as much as a table of so many entries can name. */
    uint64_t snapshot_disk_bytes;
    uint64_t snapshot_state_bytes;
    uint64_t snapshot_data_bytes;

    /* The bits of all bitmaps together, in bytes: what a program takes at least that keeps them in memory, as QEMU
     * does whenever it opens the image. A few tables, even in holes, can stand for any number of them. */
    uint64_t bitmap_bytes;
};
#define QCOW2_SURVEY_RESULT_INIT                                                                   \
    {                                                                                              \
        sizeof(struct qcow2_survey_result), { { 0, 0, NULL } }, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,   \
            0, 0, 0, 0, 0, 0, 0, 0, 0                                                              \
    }

/* Walks all tables of the image itself, refcounts aside, and no data: is it put together as a sound image
 * is, and what would reading it cost? Opens no other file and needs no key: made for images opened for
 * metadata only. 0 with *result_ret filled, whatever was found, or a code.
 *
 * Memory: 128 KiB; 1 byte for each 512 clusters of the file; 4 for each cluster that a table names, and up to 800
 * where no neighbour is named; at most 32 for each compressed cluster that the tables name. Together no more than
 * max_memory_bytes (0: 256 MiB) beside the 128 KiB: QCOW2_E_LIMIT. Work: all tables together may take 256 MiB
 * more than the file stores (holes of a sparse file are not stored), and what follows tables in their last
 * clusters 1 GiB more: QCOW2_E_LIMIT. Reads at most twice as much of tables, once of the rest, and 128 MiB,
 * whatever the size of the disk.
 * QCOW2_E_UNSUPPORTED: version 1 or raw, or the length of the source is not known. */
int qcow2_survey(const struct qcow2_image *image, uint64_t max_memory_bytes,
                 struct qcow2_survey_result *result_ret, struct qcow2_error *err);

/* ------------------------------------------------------------------------ */
/* Explaining one byte                                                      */

/* One file's part in where a guest byte comes from. */
struct qcow2_explanation {
    int depth;
    int format;  /* enum qcow2_format */
    int kind;    /* enum qcow2_extent_kind of the byte in this file; HOLE: ask the next one */
    int decides; /* the byte comes from here */
    uint64_t l1_offset; /* of the L1 entry in the file; UINT64_MAX: there is none (raw) */
    uint64_t l1_index;
    uint64_t l1_entry;  /* as stored */
    uint64_t l2_offset; /* of the L2 entry in the file; UINT64_MAX: there is no table */
    uint64_t l2_index;
    uint64_t l2_entry;         /* as stored */
    uint64_t l2_bitmap;        /* second word of an extended entry, else 0 */
    uint32_t subcluster;       /* which one, of extended L2 entries */
    uint32_t compressed_bytes; /* the longest the stream can be; 0: not compressed */
    uint64_t host_offset;      /* of the byte; of its stream if compressed; UINT64_MAX: none */
    uint64_t refcount;         /* of that host cluster as stored; UINT64_MAX: not known */
    int encrypted;
    int in_data_file; /* host_offset is one in the external data file */
};

/* How the guest byte at `offset` is found: one step for each file asked, the image itself first. *cursor
 * starts at 0; 1 with the next step, 0 after the one that decides (the last one asked, if none has the
 * byte), or a code: a table is broken, or the offset lies past the disk (QCOW2_E_ARGUMENT).
 * Reads tables, never data: at most 5 times 4 KiB for a step. */
int qcow2_next_explanation(struct qcow2_image *image, uint64_t offset, uint64_t *cursor,
                           struct qcow2_explanation *explanation_ret, struct qcow2_error *err);

/* ------------------------------------------------------------------------ */
/* Copying a whole disk                                                     */

/* These calls start threads; all have ended when they return. */
enum qcow2_copy_flags {
    /* The target already reads as zeros wherever nothing has been written (a fresh device, say), so
     * zeros need not be written or discarded. An empty regular file is known to be so. */
    QCOW2_COPY_TARGET_IS_ZERO = 1 << 0,
    /* Copy stored data without looking for zeros inside it: only what the tables call a hole or zero
     * becomes one. */
    QCOW2_COPY_KEEP_ZEROS = 1 << 1,
    /* qcow2_compare alone: without its limits. */
    QCOW2_COMPARE_NO_LIMIT = 1 << 2
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
 * Memory, beside what the image keeps: at most 128 MiB for buffers and the reads into them, and what decoders
 * need, for all threads together. A thread has a buffer of 1 MiB or one cluster, whichever is larger, so with
 * clusters of 512 KiB and more fewer threads may be started than `threads` asks for: 16 with clusters of
 * 2 MiB, and 12 where there are two such buffers for each thread (a stream, qcow2_copy_to_callback,
 * qcow2_compare).
 *
 * Errors: as qcow2_pread; QCOW2_E_ARGUMENT for a file of the image itself (qcow2_has_file), which is
 * left as it is; QCOW2_E_IO with sys_errno for the target (ENOSPC, EPIPE, ...); QCOW2_E_CANCELLED. After
 * another failure the target holds an unspecified part of the disk. */
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

/* ------------------------------------------------------------------------ */
/* Comparing two disks                                                      */

struct qcow2_compare_result {
    size_t size;
    uint64_t offset;        /* of the first byte that differs, if one does */
    uint64_t read_bytes;    /* bytes of disk that had to be read on either side */
    uint64_t skipped_bytes; /* bytes known to be the same from the tables alone */
    int failed_image;       /* after a failure: 0 for image_a, 1 for image_b */
    int reserved;
};
#define QCOW2_COMPARE_RESULT_INIT                                                                  \
    {                                                                                              \
        sizeof(struct qcow2_compare_result), 0, 0, 0, 0, 0                                         \
    }

/* Compares two virtual disks: 0 if they have the same bytes, 1 if not, with result_ret->offset the first
 * place, or a code. Where one is shorter, the rest of the other must be zeros. What both have in the same
 * place of the same file, or call zeros, is not read. `options`, `offset` and `length` included, mean
 * what they do for copying; of the flags there is QCOW2_COMPARE_NO_LIMIT. Starts threads, which have ended
 * when it returns.
 *
 * Work: of each disk, unless its image is raw, at most qcow2_max_extents extents, the parts of an extent that
 * the holes of a file make counted each, and 4 GiB to read and 1 KiB for each of that number. Beyond either
 * QCOW2_E_LIMIT, unless the flags lift it. Images in which neither tables nor data overlap stay within
 * both, unless they are compressed to less than a 4096th of their data. For encrypted disks, whose holes have to be
 * read, the length of the file is added. */
int qcow2_compare(struct qcow2_image *image_a, struct qcow2_image *image_b,
                  const struct qcow2_copy_options *options, struct qcow2_compare_result *result_ret,
                  struct qcow2_error *err);

#ifdef __cplusplus
}
#endif
#endif /* QCOW2_H */
