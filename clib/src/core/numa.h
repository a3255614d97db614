/* numa.h - which threads and which memory belong together on a machine of several nodes.
 *
 * Every step reads all weights once.  Memory that one thread touched first lies on one node, whose bus all others then wait for;
 * so either weights and threads go round all nodes (distribute), or both stay on one (isolate).  With one node there is
 * nothing to decide, and no system call is made. */
#ifndef LT_NUMA_H
#define LT_NUMA_H

#include "core/place.h"
#include "core/topology.h"

enum { LT_MAX_NODES = 64 };

typedef struct {
    int32_t n_nodes;            /* with processors that we may use; at least 1 */
    int32_t id[LT_MAX_NODES];
    lt_bits cpus[LT_MAX_NODES]; /* of each, of those that we may use */
    lt_bits memory;             /* nodes that have memory */
} lt_numa;

/* From sysfs below root; without it all processors are one node's. */
void lt_numa_read(const char *root, const lt_bits *allowed, lt_numa *out);

typedef struct {
    const lt_bits *cpus; /* thread i runs on those of cpus[i % n_groups] */
    int32_t n_groups;    /* 0: threads run where they may */
    lt_policy policy;
    lt_bits nodes;       /* the policy's */
} lt_numa_plan;

/* What a wish (LT_NUMA_*) means on this machine for a caller that runs on this processor.  Points into `numa`. */
lt_numa_plan lt_numa_decide(const lt_numa *numa, int32_t wish, int current_cpu);

#endif
