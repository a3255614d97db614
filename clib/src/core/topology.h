/* topology.h - processors as sysfs and cgroups describe them: which share a core, and how much of them we are given.
 *
 * Every function that reads files takes the root of their tree, "" for the real one, so that tests bring machines of their own.
 * What cannot be read or is malformed counts as not said. */
#ifndef LT_TOPOLOGY_H
#define LT_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

enum { LT_MAX_BITS = 4096 };

typedef struct { /* numbers of processors, or of nodes */
    uint64_t words[LT_MAX_BITS / 64];
} lt_bits;

static inline bool lt_bits_has(const lt_bits *b, int i)
{
    return i >= 0 && i < LT_MAX_BITS && b->words[i / 64] >> i % 64 & 1;
}

static inline void lt_bits_add(lt_bits *b, int i)
{
    b->words[i / 64] |= UINT64_C(1) << i % 64;
}

int lt_bits_count(const lt_bits *b);
bool lt_bits_parse(const char *list, lt_bits *out);             /* "0-3,8" as sysfs writes it; false, and *out empty, when it is none */
bool lt_bits_read(const char *root, const char *path, lt_bits *out); /* the list in this file; likewise */

void lt_cpus_allowed(lt_bits *out);                             /* processors that this thread may run on */
int lt_core_count(const char *root, const lt_bits *cpus);       /* cores that these processors belong to: hyper-threads count once */
int lt_cpu_quota(const char *root);                             /* processors' worth of time that cpu.max grants, rounded up; 0: no limit */
int lt_default_threads(const char *root, const lt_bits *cpus);  /* what is best for arithmetic: a thread per core, within the quota; >= 1 */

#endif
