/* mapping.h - one file: mapped read-only, or its header mapped and the rest read into memory of the caller's.
 *
 * Mapped pages cost no copy, and are the page cache's.  Reading suits file systems on which faults are slow (network, FUSE), and
 * a file that shrinks meanwhile is then an error and no SIGBUS; reading directly leaves the page cache to others. */
#ifndef LT_MAPPING_H
#define LT_MAPPING_H

#include "core/status.h"

typedef struct {
    char *path;
    const char *shown; /* the end of path: what fits into an error sentence beside the reason */
    const uint8_t *base;
    uint64_t size;     /* of the file */
    uint64_t n_mapped; /* bytes at base */
    int fd;            /* to read from; -1 when all stays mapped */
    int32_t load;      /* LT_LOAD_* */
} lt_mapping;

enum { LT_READ_ALIGN = 4096, LT_READ_SLACK = 2 * LT_READ_ALIGN }; /* of a buffer for lt_mapping_read */

/* A regular file of at least min_bytes.  Never blocks: pipes, devices and directories are refused.  Leaves `m` fit for
 * lt_mapping_close in every case. */
int lt_mapping_open(lt_mapping *m, const char *path, uint64_t min_bytes, int32_t load);
void lt_mapping_close(lt_mapping *m);

/* The header ends here: unless all is to stay mapped, the bytes behind it are unmapped.  They have not been looked at. */
void lt_mapping_end_header(lt_mapping *m, uint64_t n_bytes);

/* ANY THREAD.  n bytes at offset, which lie in the file as it was opened, into buffer; *bytes is where they start in there.
 * The buffer is aligned to LT_READ_ALIGN and has room for n + LT_READ_SLACK.  0 or an errno; ENODATA: the file has become shorter. */
int lt_mapping_read(const lt_mapping *m, uint64_t offset, uint64_t n, uint8_t *buffer, const uint8_t **bytes);

/* The whole pages within these bytes of the mapping go back to the system; they are read again if touched again. */
void lt_mapping_release(const void *start, uint64_t n_bytes);

#endif
