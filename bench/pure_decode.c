/* SPDX-License-Identifier: MIT */
/* pure_decode.c - the limit of reading a compressed image: its clusters
 * through the decoder, and nothing else.
 *
 * usage: pure_decode THREADS PICKS IMAGE
 *
 * Decodes every compressed cluster once (PICKS 0), or PICKS of them drawn at
 * random, straight from a mapping of the file into one buffer for each thread,
 * and prints one line of JSON. For images of our own making only: the mapping
 * is trusted, which a real reader must never do. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define COMPRESSED  (UINT64_C(1) << 62)

enum { MOST_THREADS = 64 };

struct piece {
    uint64_t host_off;
    uint64_t bytes;
};

struct job {
    const unsigned char *file;
    uint64_t file_bytes;
    unsigned cluster_bits;
    bool zstd;
    struct piece *pieces;
    size_t piece_count, piece_room;
    size_t steps;  /* clusters to decode in all */
    bool shuffled; /* piece numbers drawn at random instead of counted up */
    atomic_size_t next;
    atomic_bool failed;
};

static uint64_t load_be(const unsigned char *bytes, int count)
{
    uint64_t value = 0;

    while (count-- > 0)
        value = value << 8 | *bytes++;
    return value;
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int add_piece(struct job *job, uint64_t entry)
{
    unsigned offset_bits = 62 - (job->cluster_bits - 8);
    uint64_t host_off = entry & ((UINT64_C(1) << offset_bits) - 1);
    uint64_t sectors = ((entry & ~(COMPRESSED | UINT64_C(1) << 63)) >> offset_bits) + 1;
    uint64_t bytes = sectors * 512 - host_off % 512;

    if (host_off >= job->file_bytes)
        return -1;
    if (bytes > job->file_bytes - host_off)
        bytes = job->file_bytes - host_off;
    if (job->piece_count == job->piece_room) {
        size_t more = job->piece_room == 0 ? 1024 : job->piece_room * 2;
        struct piece *grown = realloc(job->pieces, more * sizeof *grown);

        if (grown == NULL)
            return -1;
        job->pieces = grown;
        job->piece_room = more;
    }
    job->pieces[job->piece_count++] = (struct piece){ host_off, bytes };
    return 0;
}

/* Collects the compressed clusters in guest order. */
static int collect(struct job *job)
{
    uint64_t cluster = UINT64_C(1) << job->cluster_bits;
    uint64_t l1_entries = load_be(job->file + 36, 4), l1_off = load_be(job->file + 40, 8);

    if (l1_off + l1_entries * 8 > job->file_bytes)
        return -1;
    for (uint64_t i = 0; i < l1_entries; i++) {
        uint64_t l2_off = load_be(job->file + l1_off + i * 8, 8) & OFFSET_MASK;

        if (l2_off == 0)
            continue;
        if (l2_off + cluster > job->file_bytes)
            return -1;
        for (uint64_t j = 0; j < cluster / 8; j++) {
            uint64_t entry = load_be(job->file + l2_off + j * 8, 8);

            if ((entry & COMPRESSED) != 0 && add_piece(job, entry) < 0)
                return -1;
        }
    }
    return job->piece_count == 0 ? -1 : 0;
}

static bool decode_zstd(ZSTD_DCtx *context, const unsigned char *data, size_t bytes, void *out,
                        size_t out_bytes)
{
    ZSTD_inBuffer input = { data, bytes, 0 };
    ZSTD_outBuffer output = { out, out_bytes, 0 };
    size_t result = 1;

    ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
    while (output.pos < out_bytes && result != 0 && !ZSTD_isError(result))
        result = ZSTD_decompressStream(context, &output, &input);
    return output.pos == out_bytes;
}

static void *work(void *arg)
{
    struct job *job = arg;
    size_t out_bytes = (size_t)1 << job->cluster_bits, step;
    unsigned char *out = malloc(out_bytes);
    struct libdeflate_decompressor *deflate = libdeflate_alloc_decompressor();
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    bool good = out != NULL && deflate != NULL && zstd != NULL;

    while (good && (step = atomic_fetch_add(&job->next, 1)) < job->steps) {
        uint64_t drawn = (step + 1) * UINT64_C(0x9e3779b97f4a7c15);
        size_t index = job->shuffled ? (size_t)((drawn >> 20) % job->piece_count) : step;
        const struct piece *piece = &job->pieces[index];
        const unsigned char *data = job->file + piece->host_off;
        size_t produced;

        if (job->zstd)
            good = decode_zstd(zstd, data, piece->bytes, out, out_bytes);
        else
            good = libdeflate_deflate_decompress(deflate, data, piece->bytes, out, out_bytes,
                                                 &produced) == LIBDEFLATE_SUCCESS &&
                   produced == out_bytes;
    }
    if (!good)
        atomic_store(&job->failed, true);
    free(out);
    libdeflate_free_decompressor(deflate);
    ZSTD_freeDCtx(zstd);
    return NULL;
}

static int map_image(struct job *job, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *file = MAP_FAILED;

    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 4096)
        file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (fd >= 0)
        close(fd);
    if (file == MAP_FAILED) {
        fprintf(stderr, "%s: cannot be mapped: %s\n", path, strerror(errno));
        return -1;
    }
    job->file = file;
    job->file_bytes = (uint64_t)st.st_size;
    job->cluster_bits = (unsigned)load_be(job->file + 20, 4);
    job->zstd =
        load_be(job->file + 4, 4) == 3 && load_be(job->file + 100, 4) > 104 && job->file[104] == 1;
    if (job->cluster_bits < 9 || job->cluster_bits > 21 || collect(job) < 0) {
        fprintf(stderr, "%s: not an image with compressed clusters\n", path);
        return -1;
    }
    return 0;
}

/* Decodes with so many threads; the seconds it took, or -1. */
static double decode_all(struct job *job, unsigned threads)
{
    pthread_t ids[MOST_THREADS];
    double began = now();

    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, job) != 0) {
            /* Those that run use the job: there is no way back but out. */
            fprintf(stderr, "cannot start thread %u\n", i);
            exit(1);
        }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    return atomic_load(&job->failed) ? -1 : now() - began;
}

int main(int argc, char **argv)
{
    struct job job = { 0 };
    unsigned threads = argc == 4 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    double seconds = -1;

    if (threads < 1 || threads > MOST_THREADS) {
        fprintf(stderr, "usage: %s THREADS PICKS IMAGE\n", argv[0]);
        return 2;
    }
    if (map_image(&job, argv[3]) == 0) {
        job.steps = strtoul(argv[2], NULL, 10);
        job.shuffled = job.steps > 0;
        if (!job.shuffled)
            job.steps = job.piece_count;
        seconds = decode_all(&job, threads);
        if (seconds < 0)
            fprintf(stderr, "%s: a cluster does not decode\n", argv[3]);
        else
            printf("{\"reader\": \"decoder alone\", \"threads\": %u, \"clusters\": %zu, "
                   "\"seconds\": %.6f, \"ops\": %.1f}\n",
                   threads, job.steps, seconds, (double)job.steps / seconds);
    }
    free(job.pieces);
    return seconds < 0 ? 1 : 0;
}
