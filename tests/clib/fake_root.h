/* fake_root.h - a machine made of files: an empty directory to be filled as /sys and /proc would be; gone when the program ends. */
#ifndef FAKE_ROOT_H
#define FAKE_ROOT_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_ROOTS = 16 };
static char fake_roots[MAX_ROOTS][256];
static int n_fake_roots;

static inline int fake_remove(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static inline void fake_remove_all(void)
{
    for (int i = 0; i < n_fake_roots; i++)
        nftw(fake_roots[i], fake_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static inline const char *fake_root(void)
{
    const char *dir = getenv("TMPDIR");
    if (n_fake_roots == MAX_ROOTS || (n_fake_roots == 0 && atexit(fake_remove_all)))
        exit(2);
    char *root = fake_roots[n_fake_roots];
    snprintf(root, sizeof *fake_roots, "%s/llamatw-root-XXXXXX", dir ? dir : "/tmp");
    if (!mkdtemp(root))
        exit(2);
    n_fake_roots++;
    return root;
}

static inline void fake_file(const char *root, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    if (!f || fputs(text, f) < 0 || fclose(f))
        exit(2);
}

#endif
