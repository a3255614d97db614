/* numa.c - nodes from sysfs, and what to do about them. */
#include "core/numa.h"

#include <stdio.h>

static bool shared(const lt_bits *a, const lt_bits *b, lt_bits *out)
{
    uint64_t any = 0;
    for (int i = 0; i < LT_MAX_BITS / 64; i++)
        any |= out->words[i] = a->words[i] & b->words[i];
    return any != 0;
}

static void one_node(const lt_bits *allowed, lt_numa *out)
{
    *out = (lt_numa){.n_nodes = 1};
    out->cpus[0] = *allowed;
    lt_bits_add(&out->memory, 0);
}

void lt_numa_read(const char *root, const lt_bits *allowed, lt_numa *out)
{
    lt_bits online;
    *out = (lt_numa){0};
    lt_bits_read(root, "/sys/devices/system/node/online", &online);
    if (!lt_bits_read(root, "/sys/devices/system/node/has_memory", &out->memory))
        out->memory = online;
    for (int id = 0; id < LT_MAX_BITS && out->n_nodes < LT_MAX_NODES; id++) {
        char path[64];
        lt_bits cpus;
        if (!lt_bits_has(&online, id))
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/node/node%d/cpulist", id);
        if (lt_bits_read(root, path, &cpus) && shared(&cpus, allowed, &out->cpus[out->n_nodes]))
            out->id[out->n_nodes++] = id;
    }
    if (!out->n_nodes)
        one_node(allowed, out);
}

static int32_t index_of(const lt_numa *numa, int cpu)
{
    for (int32_t i = 0; i < numa->n_nodes; i++)
        if (lt_bits_has(&numa->cpus[i], cpu))
            return i;
    return 0;
}

lt_numa_plan lt_numa_decide(const lt_numa *numa, int32_t wish, int current_cpu)
{
    lt_numa_plan plan = {.cpus = numa->cpus};
    if (numa->n_nodes == 1)
        return plan;
    if (wish == LT_NUMA_DISTRIBUTE) {
        plan.n_groups = numa->n_nodes;
        plan.policy = LT_POLICY_INTERLEAVE;
        plan.nodes = numa->memory;
    } else if (wish == LT_NUMA_ISOLATE) {
        const int32_t i = index_of(numa, current_cpu);
        plan.cpus += i;
        plan.n_groups = 1;
        plan.policy = LT_POLICY_PREFERRED;
        lt_bits_add(&plan.nodes, numa->id[i]);
    }
    return plan; /* numactl, or no wish: threads and memory inherit what the process was given */
}
