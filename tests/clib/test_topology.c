/* test_topology.c - sysfs lists, and machines made of files: hyper-threads, affinity, cgroup quotas. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"
#include "core/topology.h"
#include "fake_root.h"

static void test_lists(void)
{
    static const struct {
        const char *text;
        int n, has, lacks;
    } good[] = {{"0", 1, 0, 1},          {"0-3,8\n", 5, 8, 4}, {"5,1,3-3", 3, 3, 2},   {"4095", 1, 4095, 0},
                {"0-4095", 4096, 7, -1}, {"0-1,1-2", 3, 2, 3}, {"64-127", 64, 64, 63}, {"000", 1, 0, 1}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        lt_bits b;
        CHECK(lt_bits_parse(good[i].text, &b) && lt_bits_count(&b) == good[i].n, "\"%s\": %d", good[i].text, lt_bits_count(&b));
        CHECK(lt_bits_has(&b, good[i].has) && !lt_bits_has(&b, good[i].lacks), "\"%s\"", good[i].text);
    }
    static const char *const bad[] = {"",     "\n",  "-1",  "3-",    "3-1",    "1,",          ",1",   "1,,2",
                                      "4096", "0x1", "1 2", "1-2-3", "0-4096", "99999999999", "1\n2", "a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lt_bits b;
        CHECK(!lt_bits_parse(bad[i], &b) && lt_bits_count(&b) == 0, "\"%s\" was taken", bad[i]);
    }
}

static lt_bits list(const char *text)
{
    lt_bits b;
    CHECK(lt_bits_parse(text, &b), "%s", text);
    return b;
}

static void add_core(const char *root, const char *siblings)
{
    const lt_bits b = list(siblings);
    for (int cpu = 0; cpu < 64; cpu++)
        if (lt_bits_has(&b, cpu)) {
            char path[128];
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
            fake_file(root, path, siblings);
        }
}

/* Four cores of two threads, numbered as most machines do: 0-3 the first threads, 4-7 their siblings. */
static void test_cores(void)
{
    const char *root = fake_root();
    static const char *const cores[] = {"0,4\n", "1,5\n", "2,6\n", "3,7\n"};
    static const struct {
        const char *allowed;
        int n;
    } cases[] = {{"0-7", 4}, {"0-3", 4}, {"4-7", 4}, {"0,4", 1}, {"4", 1}, {"1-2,5", 2}, {"7", 1}, {"0-9", 6}};
    for (int i = 0; i < 4; i++)
        add_core(root, cores[i]);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lt_bits allowed = list(cases[i].allowed);
        CHECK(lt_core_count(root, &allowed) == cases[i].n, "%s: %d", cases[i].allowed, lt_core_count(root, &allowed));
    }
    const lt_bits some = list("1,5,9");
    CHECK(lt_core_count("/no/such/root", &some) == 3, "processors that nothing is known of");
    fake_file(root, "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "nonsense");
    const lt_bits first = list("0-1");
    CHECK(lt_core_count(root, &first) == 2, "nonsense in a file");
}

static void test_quota(void)
{
    static const struct {
        const char *max;
        int n;
    } cases[] = {{"max 100000\n", 0},
                 {"100000 100000\n", 1},
                 {"150000 100000", 2},
                 {"1000 100000", 1},
                 {"400000 100000\n", 4},
                 {"0 100000", 0},
                 {"-1 100000", 0},
                 {"100000", 0},
                 {"100000 0", 0},
                 {"", 0},
                 {"9999999999999999999999 1", 0}};
    const char *root = fake_root();
    CHECK(lt_cpu_quota(root) == 0, "no cgroups at all");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_file(root, "/sys/fs/cgroup/cpu.max", cases[i].max);
        CHECK(lt_cpu_quota(root) == cases[i].n, "\"%s\": %d", cases[i].max, lt_cpu_quota(root));
    }
    fake_file(root, "/proc/self/cgroup", "4:memory:/x\n0::/pod/box\n");
    fake_file(root, "/sys/fs/cgroup/pod/box/cpu.max", "max 100000\n");
    fake_file(root, "/sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
    fake_file(root, "/sys/fs/cgroup/cpu.max", "700000 100000\n");
    CHECK(lt_cpu_quota(root) == 3, "the tightest of the groups above: %d", lt_cpu_quota(root));
    fake_file(root, "/proc/self/cgroup", "0::/\n");
    CHECK(lt_cpu_quota(root) == 7, "the root group: %d", lt_cpu_quota(root));
}

static void test_default_threads(void)
{
    const char *root = fake_root();
    const lt_bits eight = list("0-7"), none = {0};
    add_core(root, "0,4\n");
    CHECK(lt_default_threads(root, &eight) == 7, "%d", lt_default_threads(root, &eight));
    fake_file(root, "/sys/fs/cgroup/cpu.max", "250000 100000\n");
    CHECK(lt_default_threads(root, &eight) == 3, "%d", lt_default_threads(root, &eight));
    CHECK(lt_default_threads(fake_root(), &none) == 1, "nothing allowed");
    lt_bits real;
    lt_cpus_allowed(&real);
    const int n = lt_default_threads("", &real);
    CHECK(n >= 1 && n <= lt_bits_count(&real), "%d threads on %d processors", n, lt_bits_count(&real));
}

int main(void)
{
    test_lists();
    test_cores();
    test_quota();
    test_default_threads();
    return check_report("topology");
}
