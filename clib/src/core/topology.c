/* topology.c - sysfs lists, core siblings, the cgroup's share of time. */
#define _GNU_SOURCE
#include "core/topology.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_PATH = 1024, MAX_TEXT = 8192 };

int lt_bits_count(const lt_bits *b)
{
    int n = 0;
    for (int i = 0; i < LT_MAX_BITS / 64; i++)
        n += __builtin_popcountll(b->words[i]);
    return n;
}

/* A decimal number below LT_MAX_BITS at *at, which moves on; -1: there is none. */
static int read_number(const char **at)
{
    int n = 0;
    const char *start = *at;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        n = 10 * n + (**at - '0');
        if (n >= LT_MAX_BITS)
            return -1;
    }
    return *at == start ? -1 : n;
}

static bool parse(const char *at, lt_bits *out)
{
    for (;; at++) {
        const int first = read_number(&at);
        int last = first;
        if (*at == '-') {
            at++;
            last = read_number(&at);
        }
        if (first < 0 || last < first)
            return false;
        for (int i = first; i <= last; i++)
            lt_bits_add(out, i);
        if (*at != ',')
            return *at == '\0' || !strcmp(at, "\n");
    }
}

bool lt_bits_parse(const char *list, lt_bits *out)
{
    *out = (lt_bits){0};
    if (parse(list, out))
        return true;
    *out = (lt_bits){0};
    return false;
}

/* The file's first MAX_TEXT - 1 bytes, NUL-terminated. */
static bool read_text(const char *root, const char *path, char text[MAX_TEXT])
{
    char full[MAX_PATH];
    if (snprintf(full, sizeof full, "%s%s", root, path) >= (int)sizeof full)
        return false;
    FILE *f = fopen(full, "re");
    if (!f)
        return false;
    const size_t n = fread(text, 1, MAX_TEXT - 1, f);
    fclose(f);
    text[n] = '\0';
    return n > 0;
}

bool lt_bits_read(const char *root, const char *path, lt_bits *out)
{
    char text[MAX_TEXT];
    *out = (lt_bits){0};
    return read_text(root, path, text) && lt_bits_parse(text, out);
}

void lt_cpus_allowed(lt_bits *out)
{
    *out = (lt_bits){0};
    if (syscall(SYS_sched_getaffinity, 0, sizeof *out, out) < 0)
        lt_bits_add(out, 0);
}

/* A core is counted at the first of its processors that we may use. */
int lt_core_count(const char *root, const lt_bits *cpus)
{
    int n = 0;
    for (int cpu = 0; cpu < LT_MAX_BITS; cpu++) {
        char path[128];
        lt_bits siblings;
        if (!lt_bits_has(cpus, cpu))
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        lt_bits_read(root, path, &siblings);
        int first = 0;
        while (first < cpu && !(lt_bits_has(&siblings, first) && lt_bits_has(cpus, first)))
            first++;
        n += first == cpu;
    }
    return n;
}

/* "150000 100000" -> 2; "max 100000" and nonsense -> 0 */
static int parse_quota(const char *text)
{
    char *end;
    const long long quota = strtoll(text, &end, 10), period = end == text ? 0 : strtoll(end, NULL, 10);
    if (quota <= 0 || period <= 0)
        return 0;
    const long long n = quota / period + (quota % period != 0);
    return n < LT_MAX_BITS ? (int)n : 0;
}

static int smaller_limit(int a, int b)
{
    return a && (!b || a < b) ? a : b;
}

/* This process's group in the second cgroup hierarchy ("0::/a/b" -> "/a/b"); "" when there is none. */
static void own_group(const char *root, char path[MAX_PATH])
{
    char text[MAX_TEXT];
    path[0] = '\0';
    if (!read_text(root, "/proc/self/cgroup", text))
        return;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (!strncmp(line, "0::/", 4) && strlen(line) < MAX_PATH / 2)
            strcpy(path, line + 3);
}

int lt_cpu_quota(const char *root)
{
    char group[MAX_PATH], text[MAX_TEXT];
    int quota = 0;
    own_group(root, group);
    for (;;) { /* every group above has its say too */
        char path[MAX_PATH + 64];
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", strcmp(group, "/") ? group : "");
        if (read_text(root, path, text))
            quota = smaller_limit(quota, parse_quota(text));
        char *last = strrchr(group, '/');
        if (!last)
            return quota;
        *last = '\0';
    }
}

int lt_default_threads(const char *root, const lt_bits *cpus)
{
    const int n = smaller_limit(lt_core_count(root, cpus), lt_cpu_quota(root));
    return n > 0 ? n : 1;
}
