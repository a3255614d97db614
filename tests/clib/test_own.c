/* test_own.c - pages that become a sequence's own: by reference count, with what hangs below them, when pages are short.
 * (At random: test_kv_random.c.) */
#include "check.h"

#include <string.h>

#include "kv/kv.h"

enum { N_SEQS = 4, N_IDS = 200 };

static int32_t ids[N_IDS];

static lt_kv *new_kv(int32_t n_pages)
{
    lt_kv *kv = NULL;
    CHECK(lt_kv_create(&kv, n_pages, N_SEQS, 400, 0) == LT_OK, "%s", lt_last_error());
    for (int32_t i = 0; i < N_IDS; i++)
        ids[i] = i + 1;
    return kv;
}

/* Opens a sequence on ids[0..n), computes and publishes them; returns what came from the tree. */
static int32_t compute(lt_kv *kv, int32_t seq, int32_t n)
{
    lt_kv_copy copy;
    int32_t n_cached = -1;
    CHECK(lt_kv_open(kv, seq, 0, ids, n - 1, &n_cached, &copy) == LT_OK, "%s", lt_last_error());
    CHECK(lt_kv_reserve(kv, &(lt_kv_need){seq, n}, 1) == LT_OK, "%s", lt_last_error());
    lt_kv_publish(kv, seq, ids, n);
    return n_cached;
}

static int32_t own(lt_kv *kv, int32_t seq, int32_t first, lt_kv_copy *copies)
{
    int32_t n = -1;
    CHECK(lt_kv_own(kv, seq, first, copies, &n) == LT_OK, "%s", lt_last_error());
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
    return n;
}

static void expect_counts(const lt_kv *kv, int32_t n_free, int32_t n_cached, int32_t n_used)
{
    const lt_kv_count c = lt_kv_counts(kv);
    CHECK(c.n_free == n_free && c.n_cached == n_cached && c.n_used == n_used, "%d %d %d, expected %d %d %d", c.n_free, c.n_cached, c.n_used,
          n_free, n_cached, n_used);
}

static void test_shared_pages_are_replaced(void)
{
    lt_kv *kv = new_kv(10);
    lt_kv_copy copies[8];
    int32_t before[8], n;
    compute(kv, 0, 200);
    CHECK(compute(kv, 1, 200) == 199, "three pages are shared, the last is copied");
    memcpy(before, lt_kv_table(kv, 1, &n), sizeof *before * 4);
    CHECK(own(kv, 1, 1, copies) == 2, "two pages must be copied");
    const int32_t *mine = lt_kv_table(kv, 1, &n), *other = lt_kv_table(kv, 0, &n);
    CHECK(mine[0] == other[0] && mine[3] == before[3], "the head stays shared, what was ours stays ours");
    for (int32_t i = 0; i < 2; i++)
        CHECK(copies[i].src == other[2 - i] && copies[i].dst == mine[2 - i] && copies[i].n_tokens == LT_PAGE, "%d: %d to %d", i,
              copies[i].src, copies[i].dst);
    lt_kv_publish(kv, 1, ids, 200);
    CHECK(lt_kv_table(kv, 1, &n)[1] != other[1], "nothing of it is published any more");
    CHECK(own(kv, 1, 0, copies) == 1 && own(kv, 1, 0, copies) == 0, "the head in its turn");
    lt_kv_close(kv, 1, ids, 200, 1);
    expect_counts(kv, 6, 0, 4);
    lt_kv_close(kv, 0, ids, 200, 1);
    CHECK(compute(kv, 1, 200) == 199, "the other's pages are whole, and a slot opened again publishes as ever");
    lt_kv_destroy(kv);
}

static void test_cached_descendants_go(void)
{
    lt_kv *kv = new_kv(10);
    lt_kv_copy copies[8];
    compute(kv, 0, 200);
    lt_kv_close(kv, 0, ids, 200, 1);
    ids[150] = 999; /* a second branch below the second page */
    compute(kv, 0, 200);
    lt_kv_close(kv, 0, ids, 200, 1);
    expect_counts(kv, 4, 6, 0);
    CHECK(compute(kv, 2, 140) == 139, "two pages by reference, the head of the third by copy");
    expect_counts(kv, 3, 4, 3);
    CHECK(own(kv, 2, 1, copies) == 0, "nothing to copy: nobody else holds them");
    expect_counts(kv, 7, 0, 3); /* both branches hung below the second page */
    lt_kv_close(kv, 2, ids, 140, 1);
    CHECK(compute(kv, 2, 200) == 64, "the first page stayed");
    lt_kv_destroy(kv);
}

static void test_no_page_left(void)
{
    lt_kv *kv = new_kv(4);
    lt_kv_copy copies[8];
    int32_t before[4], n;
    compute(kv, 0, 128);
    compute(kv, 1, 190);
    compute(kv, 2, 150);
    expect_counts(kv, 0, 0, 4);
    memcpy(before, lt_kv_table(kv, 1, &n), sizeof *before * 3);
    CHECK(lt_kv_own(kv, 1, 0, copies, &n) == LT_E_KV_FULL, "two pages of none");
    CHECK(!memcmp(before, lt_kv_table(kv, 1, &n), sizeof *before * 3) && lt_kv_check(kv) == LT_OK, "nothing changed");
    CHECK(own(kv, 1, 2, copies) == 0, "the last page is its own already");
    lt_kv_close(kv, 2, ids, 150, 1);
    CHECK(own(kv, 1, 1, copies) == 1, "the closed one's tail makes room");
    CHECK(lt_kv_own(kv, 3, 0, copies, &n) == LT_E_ARG && lt_kv_own(kv, 1, -1, copies, &n) == LT_E_ARG, "wrong arguments");
    lt_kv_destroy(kv);
}

/* A page that a running sequence is filling may be copied by others: not once its cells have changed, nor what was cut off. */
static void test_half_pages_are_not_copied(void)
{
    lt_kv *kv = new_kv(10);
    lt_kv_copy copies[8];
    compute(kv, 0, 100);
    CHECK(compute(kv, 1, 100) == 99, "the half page is copied");
    lt_kv_close(kv, 1, ids, 100, 0);
    lt_kv_trim(kv, 0, 80);
    CHECK(compute(kv, 1, 100) == 80, "what is left of it");
    lt_kv_close(kv, 1, ids, 100, 0);
    own(kv, 0, 1, copies);
    CHECK(lt_kv_is_altered(kv, 0) && !lt_kv_is_altered(kv, 1) && !lt_kv_is_altered(kv, N_SEQS), "which one was altered");
    CHECK(compute(kv, 1, 100) == 64, "nothing of a page that changes");
    lt_kv_destroy(kv);
}

static void test_trim(void)
{
    lt_kv *kv = new_kv(10);
    int32_t n;
    compute(kv, 0, 200);
    lt_kv_trim(kv, 0, 129);
    CHECK(lt_kv_table(kv, 0, &n) && n == 3 && lt_kv_check(kv) == LT_OK, "%d pages", n);
    lt_kv_trim(kv, 0, 128);
    lt_kv_trim(kv, 0, 400);
    lt_kv_trim(kv, 1, 0);
    CHECK(lt_kv_table(kv, 0, &n) && n == 2 && lt_kv_check(kv) == LT_OK, "%d pages", n);
    expect_counts(kv, 7, 1, 2);
    lt_kv_destroy(kv);
}

int main(void)
{
    test_shared_pages_are_replaced();
    test_cached_descendants_go();
    test_no_page_left();
    test_trim();
    test_half_pages_are_not_copied();
    return check_report("own");
}
