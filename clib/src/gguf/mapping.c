/* mapping.c - one file, mapped read-only. */
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
    m->base = base;
    m->size = (uint64_t)st.st_size;
    return LT_OK;
}

int lt_mapping_open(lt_mapping *m, const char *path, uint64_t min_bytes)
{
    *m = (lt_mapping){0};
    LT_TRY(copy_path(m, path));
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); /* O_NONBLOCK: a pipe without a writer must not hold us */
    if (fd < 0)
        return lt_fail(LT_E_IO, "%s: %s", m->shown, strerror(errno));
    int rc = map_fd(m, fd, min_bytes);
    close(fd);
    return rc;
}

void lt_mapping_close(lt_mapping *m)
{
    if (m->base)
        munmap((void *)(uintptr_t)m->base, (size_t)m->size);
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
