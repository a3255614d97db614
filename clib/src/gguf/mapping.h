/* mapping.h - one file, mapped read-only. */
#ifndef LT_MAPPING_H
#define LT_MAPPING_H

#include "core/status.h"

typedef struct {
    char *path;
    const char *shown; /* the end of path: what fits into an error sentence beside the reason */
    const uint8_t *base;
    uint64_t size;
} lt_mapping;

/* A regular file of at least min_bytes.  Never blocks: pipes, devices and directories are refused.  Leaves `m` fit for
 * lt_mapping_close in every case. */
int lt_mapping_open(lt_mapping *m, const char *path, uint64_t min_bytes);
void lt_mapping_close(lt_mapping *m);

/* The whole pages within these bytes of the mapping go back to the system; they are read again if touched again. */
void lt_mapping_release(const void *start, uint64_t n_bytes);

#endif
