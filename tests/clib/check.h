/* check.h - the C tests' few words.  A test program returns 0 when every CHECK held and prints the ones that did not. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

static int n_checks, n_failed;

#define CHECK(cond, ...)                                                        \
    do {                                                                        \
        n_checks++;                                                             \
        if (!(cond)) {                                                          \
            n_failed++;                                                         \
            if (n_failed <= 20) {                                               \
                printf("%s:%d: %s: ", __FILE__, __LINE__, #cond);               \
                printf(__VA_ARGS__);                                            \
                printf("\n");                                                   \
            }                                                                   \
        }                                                                       \
    } while (0)

static inline int check_report(const char *name)
{
    printf("%s: %d checks, %d failed\n", name, n_checks, n_failed);
    return n_failed ? 1 : 0;
}

#endif
