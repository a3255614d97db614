/* mapping.c - opening, mapping, reading. */
#define _GNU_SOURCE /* O_DIRECT */
#include "gguf/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"

enum { SHOWN_BYTES = 200 }; /* of a path, in an error sentence of 511 */

static int copy_path(lt_mapping *m, const char *path)
{
    size_t n = strlen(path);
    m->path = lt_alloc(n + 1, 1);
    if (!m->path)
        return lt_fail(LT_E_NOMEM, "no memory for a path of %zu bytes", n);
    memcpy(m->path, path, n + 1);
    m->shown = n > SHOWN_BYTES ? m->path + n - SHOWN_BYTES : m->path;
    return LT_OK;
}

static int map_fd(lt_mapping *m, int fd, uint64_t min_bytes)
{
    struct stat st;
    if (fstat(fd, &st))
        return lt_fail(LT_E_IO, "%s: %s", m->shown, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return lt_fail(LT_E_IO, "%s is a directory", m->shown);
    if (!S_ISREG(st.st_mode))
        return lt_fail(LT_E_IO, "%s is not a regular file", m->shown);
    if ((uint64_t)st.st_size < min_bytes)
        return lt_fail(LT_E_FORMAT, "%s is not a GGUF file: it has %" PRIu64 " bytes, the header alone has %" PRIu64, m->shown,
                       (uint64_t)st.st_size, min_bytes);
    void *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (base == MAP_FAILED)
        return lt_fail(LT_E_IO, "%s: cannot map %" PRIu64 " bytes: %s", m->shown, (uint64_t)st.st_size, strerror(errno));
    if (m->load == LT_LOAD_MMAP)
        madvise(base, (size_t)st.st_size, MADV_SEQUENTIAL);
    m->base = base;
    m->size = m->n_mapped = (uint64_t)st.st_size;
    return LT_OK;
}

/* Mapped before reading directly is asked for: not every file system can, and a header is read in pieces of any size. */
static int prepare_reading(lt_mapping *m)
{
    if (m->load == LT_LOAD_READ)
        posix_fadvise(m->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    if (m->load == LT_LOAD_DIRECT && fcntl(m->fd, F_SETFL, O_DIRECT))
        return lt_fail(LT_E_UNSUPPORTED, "%s: its file system has no direct reads: %s", m->shown, strerror(errno));
    return LT_OK;
}

int lt_mapping_open(lt_mapping *m, const char *path, uint64_t min_bytes, int32_t load)
{
    *m = (lt_mapping){.load = load, .fd = -1};
    LT_TRY(copy_path(m, path));
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); /* O_NONBLOCK: a pipe without a writer must not hold us */
    if (fd < 0)
        return lt_fail(LT_E_IO, "%s: %s", m->shown, strerror(errno));
    int rc = map_fd(m, fd, min_bytes);
    if (rc < 0 || load == LT_LOAD_MMAP) {
        close(fd);
        return rc;
    }
    m->fd = fd;
    return prepare_reading(m);
}

void lt_mapping_end_header(lt_mapping *m, uint64_t n_bytes)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), kept = (n_bytes + page - 1) / page * page;
    if (m->load == LT_LOAD_MMAP || kept >= m->n_mapped)
        return;
    munmap((void *)(uintptr_t)(m->base + kept), (size_t)(m->n_mapped - kept));
    m->n_mapped = kept;
}

int lt_mapping_read(const lt_mapping *m, uint64_t offset, uint64_t n, uint8_t *buffer, const uint8_t **bytes)
{
    const uint64_t lead = m->load == LT_LOAD_DIRECT ? offset % LT_READ_ALIGN : 0;
    uint64_t have = 0, want = lead + n;
    if (m->load == LT_LOAD_DIRECT)
        want = (want + LT_READ_ALIGN - 1) / LT_READ_ALIGN * LT_READ_ALIGN;
    while (have < lead + n) { /* a direct read that ends inside a block has met the file's end, and is complete if that is ours */
        const ssize_t got = pread(m->fd, buffer + have, (size_t)(want - have), (off_t)(offset - lead + have));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : ENODATA;
        have += (uint64_t)got;
    }
    *bytes = buffer + lead;
    return 0;
}

void lt_mapping_close(lt_mapping *m)
{
    if (m->base) {
        munmap((void *)(uintptr_t)m->base, (size_t)m->n_mapped);
        if (m->fd >= 0)
            close(m->fd);
    }
    lt_free(m->path);
    *m = (lt_mapping){0};
}

void lt_mapping_release(const void *start, uint64_t n_bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)start + page - 1) & ~(page - 1);
    uintptr_t last = ((uintptr_t)start + (uintptr_t)n_bytes) & ~(page - 1);
    if (first < last)
        madvise((void *)first, last - first, MADV_DONTNEED);
}
