/* test_draft.c - where guesses come from: the longest agreement, of equals the latest; a period goes on. */
#include "check.h"
#include "draft.h"

static void expect(const char *what, const int32_t *history, int32_t n, int32_t max, const int32_t *want, int32_t n_want)
{
    int32_t ids[64];
    for (int32_t i = 0; i < n; i++)
        ids[i] = history[i];
    for (int32_t i = n; i < 64; i++)
        ids[i] = -7;
    const int32_t got = lt_draft(ids, n, max);
    CHECK(got == n_want, "%s: %d guesses, not %d", what, got, n_want);
    for (int32_t i = 0; i < n_want; i++)
        CHECK(ids[n + i] == want[i], "%s: guess %d is %d, not %d", what, i, ids[n + i], want[i]);
    for (int32_t i = n + n_want; i < 64; i++)
        CHECK(ids[i] == -7, "%s: wrote beyond its guesses", what);
}

int main(void)
{
    expect("nothing repeats", (int32_t[]){1, 2, 3, 4, 5, 6}, 6, 4, NULL, 0);
    expect("two ids are too few", (int32_t[]){1, 2, 9, 1, 2}, 5, 4, NULL, 0);
    expect("three", (int32_t[]){1, 2, 3, 8, 9, 1, 2, 3}, 8, 2, (int32_t[]){8, 9}, 2);
    expect("the latest of equals", (int32_t[]){1, 2, 3, 8, 1, 2, 3, 9, 4, 1, 2, 3}, 12, 1, (int32_t[]){9}, 1);
    expect("the longest before the latest", (int32_t[]){5, 1, 2, 3, 8, 6, 1, 2, 3, 9, 5, 1, 2, 3}, 14, 1, (int32_t[]){8}, 1);
    expect("a period goes on", (int32_t[]){1, 2, 1, 2, 1, 2}, 6, 5, (int32_t[]){1, 2, 1, 2, 1}, 5);
    expect("one id over and over", (int32_t[]){4, 4, 4, 4}, 4, 3, (int32_t[]){4, 4, 4}, 3);
    expect("short histories", (int32_t[]){4, 4, 4}, 3, 3, NULL, 0);
    expect("one id", (int32_t[]){4}, 1, 3, NULL, 0);
    expect("no room", (int32_t[]){1, 1, 1, 1, 1}, 5, 0, NULL, 0);
    return check_report("draft");
}
