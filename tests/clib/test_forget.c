/* test_forget.c - lt_kv_forget: what it takes of a history is the end that nobody else has. */
#include <string.h>

#include "check.h"
#include "kv/kv.h"

enum { N_IDS = 200, N_PAGES = 16 };

static int32_t open_seq(lt_kv *kv, int32_t seq, const int32_t *ids, int32_t n)
{
    lt_kv_copy copy;
    int32_t n_cached = -1;
    CHECK(lt_kv_open(kv, seq, 0, ids, n, &n_cached, &copy) == LT_OK, "%s", lt_last_error());
    return n_cached;
}

/* Opens, computes and closes a whole history, which the tree keeps. */
static void run_seq(lt_kv *kv, const int32_t *ids, int32_t n)
{
    open_seq(kv, 0, ids, n - 1);
    CHECK(lt_kv_reserve(kv, &(lt_kv_need){0, n}, 1) == LT_OK, "%s", lt_last_error());
    lt_kv_close(kv, 0, ids, n, 1);
}

static void forget(lt_kv *kv, uint64_t scope, const int32_t *ids, int32_t n, int32_t n_keep, int32_t n_cached)
{
    lt_kv_forget(kv, scope, ids, n, n_keep);
    CHECK(lt_kv_counts(kv).n_cached == n_cached, "%d of %d ids forgotten: %d cached pages are left, not %d", n - n_keep, n,
          lt_kv_counts(kv).n_cached, n_cached);
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
}

int main(void)
{
    lt_kv *kv = NULL;
    int32_t ids[N_IDS], other[N_IDS];
    CHECK(lt_kv_create(&kv, N_PAGES, 2, 400, 0) == LT_OK, "%s", lt_last_error());
    for (int32_t i = 0; i < N_IDS; i++)
        ids[i] = 1 + i, other[i] = i < 130 ? ids[i] : 5000 + i;
    run_seq(kv, ids, N_IDS); /* 3 full pages and 8 ids; the other one shares 2 of them */
    run_seq(kv, other, N_IDS);
    forget(kv, 1, ids, N_IDS, 0, 6); /* not there: another scope, other ids */
    forget(kv, 0, ids + 1, N_IDS - 1, 0, 6);
    forget(kv, 0, ids, N_IDS, N_IDS, 6);
    forget(kv, 0, ids, N_IDS, 196, 5);
    CHECK(open_seq(kv, 1, ids, 192) == 192, "a page is gone");
    forget(kv, 0, ids, 192, 0, 2); /* it runs: the 2 are the other's */
    lt_kv_close(kv, 1, ids, 192, 1);
    forget(kv, 0, ids, N_IDS, 0, 4);
    forget(kv, 0, other, 196, 0, 0); /* a shorter run of the same: its tail is the head of that leaf */
    CHECK(lt_kv_counts(kv).n_free == N_PAGES, "%d of %d pages are free", lt_kv_counts(kv).n_free, N_PAGES);
    lt_kv_destroy(kv);
    return check_report("forget");
}
