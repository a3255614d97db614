/* test_numa.c - nodes read from machines made of files, and what each wish comes to on them; threads bound and memory placed for real. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "core/memory.h"
#include "core/numa.h"
#include "core/pool.h"
#include "fake_root.h"

static lt_bits list(const char *text)
{
    lt_bits b;
    CHECK(lt_bits_parse(text, &b), "%s", text);
    return b;
}

static bool same(const lt_bits *b, const char *text)
{
    const lt_bits want = list(text);
    return !memcmp(b, &want, sizeof want);
}

/* Nodes 0 and 2 with processors, node 3 with processors and no memory, node 5 with memory only. */
static const char *four_nodes(void)
{
    const char *root = fake_root();
    fake_file(root, "/sys/devices/system/node/online", "0,2-3,5\n");
    fake_file(root, "/sys/devices/system/node/has_memory", "0,2,5\n");
    fake_file(root, "/sys/devices/system/node/node0/cpulist", "0-3,8-11\n");
    fake_file(root, "/sys/devices/system/node/node2/cpulist", "4-7,12-15\n");
    fake_file(root, "/sys/devices/system/node/node3/cpulist", "16\n");
    fake_file(root, "/sys/devices/system/node/node5/cpulist", "\n");
    return root;
}

static void test_read(lt_numa *n)
{
    const lt_bits all = list("0-63"), some = list("2-5");
    const char *root = four_nodes();
    lt_numa_read(root, &all, n);
    CHECK(n->n_nodes == 3 && n->id[0] == 0 && n->id[1] == 2 && n->id[2] == 3, "%d nodes", n->n_nodes);
    CHECK(same(&n->cpus[1], "4-7,12-15") && same(&n->cpus[2], "16") && same(&n->memory, "0,2,5"), "wrong lists");
    lt_numa_read(root, &some, n);
    CHECK(n->n_nodes == 2 && same(&n->cpus[0], "2-3") && same(&n->cpus[1], "4-5"), "processors that we may not use");
    lt_numa_read(fake_root(), &some, n);
    CHECK(n->n_nodes == 1 && same(&n->cpus[0], "2-5") && same(&n->memory, "0"), "a machine without nodes");
    fake_file(root, "/sys/devices/system/node/online", "0,2-\n");
    lt_numa_read(root, &some, n);
    CHECK(n->n_nodes == 1 && same(&n->cpus[0], "2-5"), "nonsense");
}

static void test_decide(lt_numa *n)
{
    const lt_bits all = list("0-63");
    lt_numa_read(four_nodes(), &all, n);
    lt_numa_plan p = lt_numa_decide(n, LT_NUMA_DISTRIBUTE, 5);
    CHECK(p.n_groups == 3 && p.cpus == n->cpus && p.policy == LT_POLICY_INTERLEAVE && same(&p.nodes, "0,2,5"), "distribute");
    p = lt_numa_decide(n, LT_NUMA_ISOLATE, 5);
    CHECK(p.n_groups == 1 && p.cpus == &n->cpus[1] && p.policy == LT_POLICY_PREFERRED && same(&p.nodes, "2"), "isolate");
    p = lt_numa_decide(n, LT_NUMA_ISOLATE, -1);
    CHECK(p.n_groups == 1 && p.cpus == &n->cpus[0], "isolate, nobody knows where");
    for (int32_t wish = LT_NUMA_NONE; wish <= LT_NUMA_NUMACTL; wish += LT_NUMA_NUMACTL) {
        p = lt_numa_decide(n, wish, 5);
        CHECK(!p.n_groups && !p.policy, "wish %d", wish);
    }
    lt_numa_read(fake_root(), &all, n);
    for (int32_t wish = LT_NUMA_NONE; wish <= LT_NUMA_NUMACTL; wish++) {
        p = lt_numa_decide(n, wish, 5);
        CHECK(!p.n_groups && !p.policy, "wish %d with one node", wish);
    }
}

enum { N_THREADS = 4 };
static lt_bits seen[N_THREADS];

static void look(void *context, int32_t item, int32_t worker)
{
    (void)context, (void)item;
    lt_cpus_allowed(&seen[worker]);
    usleep(1000); /* so that every thread gets an item */
}

/* Processors taken for nodes: threads 0 and 2 on the first, 1 and 3 on the last. */
static void test_bind(void)
{
    lt_bits before, after, groups[2] = {{{0}}, {{0}}};
    lt_pool *pool;
    lt_cpus_allowed(&before);
    int first = 0, last = LT_MAX_BITS - 1;
    while (!lt_bits_has(&before, first))
        first++;
    while (!lt_bits_has(&before, last))
        last--;
    lt_bits_add(&groups[0], first);
    lt_bits_add(&groups[1], last);
    CHECK(lt_pool_create(&pool, N_THREADS) == LT_OK && lt_pool_bind(pool, groups, 2) == LT_OK, "%s", lt_last_error());
    lt_pool_run(pool, N_THREADS, look, NULL, 100);
    for (int i = 0; i < N_THREADS; i++)
        CHECK(!lt_bits_count(&seen[i]) || !memcmp(&seen[i], &groups[i % 2], sizeof *seen), "thread %d is elsewhere", i);
    CHECK(lt_bits_count(&seen[0]) == 1, "the caller took no item");
    lt_pool_destroy(pool);
    lt_cpus_allowed(&after);
    CHECK(!memcmp(&before, &after, sizeof before), "the caller stayed bound");
    const lt_bits none = {{0}};
    CHECK(lt_pool_create(&pool, 2) == LT_OK && lt_pool_bind(pool, &none, 1) == LT_E_IO, "bound to no processor");
    lt_pool_destroy(pool);
}

enum { MPOL_F_ADDR = 2 };

static void test_place(void)
{
    lt_place p = {.policy = LT_POLICY_INTERLEAVE};
    lt_bits_add(&p.nodes, 0);
    char *a = lt_place_alloc(&p, 3 << 20, 1);
    if (!a && (p.error == ENOSYS || p.error == EPERM)) {
        printf("mbind is not for us here: %s\n", strerror(p.error));
        return;
    }
    int policy = -1;
    lt_bits nodes = {{0}};
    const long rc = syscall(SYS_get_mempolicy, &policy, nodes.words, LT_MAX_BITS, a, MPOL_F_ADDR);
    CHECK(a && !rc && policy == LT_POLICY_INTERLEAVE && same(&nodes, "0"), "policy %d", policy);
    lt_place_forget(&p);
    lt_free(a);
    p = (lt_place){.policy = LT_POLICY_INTERLEAVE}; /* over no nodes at all */
    CHECK(!lt_place_alloc(&p, 1, 1) && lt_place_fail(&p, LT_E_NOMEM) == LT_E_IO && strstr(lt_last_error(), "mbind"), "%s", lt_last_error());
    lt_place_forget(&p);
    CHECK(lt_place_fail(&p, LT_E_NOMEM) == LT_E_NOMEM, "nothing was refused");
}

int main(void)
{
    lt_numa *n = lt_alloc(1, sizeof *n);
    test_read(n);
    test_decide(n);
    test_bind();
    test_place();
    lt_free(n);
    return check_report("numa");
}
