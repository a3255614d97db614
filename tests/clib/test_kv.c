/* test_kv.c - the KV bookkeeping: each promise of kv.h once by hand (at random: test_kv_random.c). */
#include "check.h"

#include <string.h>

#include "core/memory.h"
#include "kv/internal.h"

enum { N_SEQS = 6, MAX_TOKENS = 400 };

static lt_kv *new_kv(int32_t n_pages)
{
    lt_kv *kv = NULL;
    CHECK(lt_kv_create(&kv, n_pages, N_SEQS, MAX_TOKENS, 0) == LT_OK, "%s", lt_last_error());
    return kv;
}

static void fill(int32_t *ids, int32_t n, int32_t first)
{
    for (int32_t i = 0; i < n; i++)
        ids[i] = first + i;
}

static int32_t open_seq(lt_kv *kv, int32_t seq, uint64_t scope, const int32_t *ids, int32_t max_cached, lt_kv_copy *copy)
{
    int32_t n_cached = -1;
    CHECK(lt_kv_open(kv, seq, scope, ids, max_cached, &n_cached, copy) == LT_OK, "%s", lt_last_error());
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
    return n_cached;
}

static int reserve(lt_kv *kv, int32_t seq, int32_t n_tokens)
{
    lt_kv_need need = {seq, n_tokens};
    int rc = lt_kv_reserve(kv, &need, 1);
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
    return rc;
}

/* Opens, computes and closes a whole history. */
static void run_seq(lt_kv *kv, uint64_t scope, const int32_t *ids, int32_t n, int keep)
{
    lt_kv_copy copy;
    open_seq(kv, 0, scope, ids, n - 1, &copy);
    CHECK(reserve(kv, 0, n) == LT_OK, "%s", lt_last_error());
    lt_kv_close(kv, 0, ids, n, keep);
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
}

static void expect_counts(const lt_kv *kv, int32_t n_free, int32_t n_cached, int32_t n_used)
{
    lt_kv_count c = lt_kv_counts(kv);
    CHECK(c.n_free == n_free && c.n_cached == n_cached && c.n_used == n_used, "%d %d %d, expected %d %d %d", c.n_free, c.n_cached, c.n_used,
          n_free, n_cached, n_used);
}

static void test_share_with_running_owner(void)
{
    lt_kv *kv = new_kv(10);
    int32_t ids[200], n;
    lt_kv_copy copy;
    fill(ids, 200, 1);
    CHECK(open_seq(kv, 0, 7, ids, 199, &copy) == 0 && copy.n_tokens == 0, "an empty tree has nothing");
    CHECK(reserve(kv, 0, 200) == LT_OK, "%s", lt_last_error());
    lt_kv_publish(kv, 0, ids, 190);
    CHECK(open_seq(kv, 1, 7, ids, 199, &copy) == 190 && copy.n_tokens == 62, "two full pages, and what there is of the third");
    CHECK(lt_kv_table(kv, 1, &n)[1] == lt_kv_table(kv, 0, &n)[1], "shared by reference");
    CHECK(copy.src == lt_kv_table(kv, 0, &n)[2] && copy.dst == lt_kv_table(kv, 1, &n)[2], "from %d to %d", copy.src, copy.dst);
    CHECK(open_seq(kv, 2, 8, ids, 199, &copy) == 0, "another scope sees nothing");
    CHECK(open_seq(kv, 3, 7, ids, 100, &copy) == 100 && copy.n_tokens == 36, "the head of the second page by copy");
    CHECK(copy.src == lt_kv_table(kv, 0, &n)[1] && copy.dst == lt_kv_table(kv, 3, &n)[1], "from %d to %d", copy.src, copy.dst);
    int32_t other[200];
    fill(other, 200, 1);
    other[150] = 0;
    CHECK(open_seq(kv, 4, 7, other, 199, &copy) == 150 && copy.n_tokens == 22, "as far as the ids agree");
    expect_counts(kv, 3, 0, 7);
    lt_kv_close(kv, 0, ids, 190, 0);
    expect_counts(kv, 5, 0, 5);
    CHECK(open_seq(kv, 0, 7, ids, 199, &copy) == 128, "sequences that have published nothing have nothing to give");
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
    lt_kv_destroy(kv);
}

static void test_dedup(void)
{
    lt_kv *kv = new_kv(10);
    int32_t ids[128], n;
    lt_kv_copy copy;
    fill(ids, 128, 1);
    for (int32_t seq = 0; seq < 2; seq++) {
        open_seq(kv, seq, 0, ids, 127, &copy);
        CHECK(reserve(kv, seq, 128) == LT_OK, "%s", lt_last_error());
    }
    expect_counts(kv, 6, 0, 4);
    lt_kv_publish(kv, 0, ids, 128);
    lt_kv_publish(kv, 1, ids, 128);
    expect_counts(kv, 8, 0, 2);
    CHECK(!memcmp(lt_kv_table(kv, 0, &n), lt_kv_table(kv, 1, &n), 2 * sizeof(int32_t)), "the tree's pages replace ours");
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
    lt_kv_destroy(kv);
}

static void test_tails(void)
{
    lt_kv *kv = new_kv(10);
    int32_t ids[128];
    lt_kv_copy copy;
    fill(ids, 128, 1);
    run_seq(kv, 0, ids, 20, 1);
    expect_counts(kv, 9, 1, 0);
    run_seq(kv, 0, ids, 30, 1); /* longer: replaces */
    expect_counts(kv, 9, 1, 0);
    run_seq(kv, 0, ids, 10, 1); /* shorter: dropped */
    expect_counts(kv, 9, 1, 0);
    CHECK(open_seq(kv, 1, 0, ids, 60, &copy) == 30, "the longest wins");
    lt_kv_close(kv, 1, ids, 30, 0);
    run_seq(kv, 0, ids, 64, 1); /* a full page swallows its head */
    expect_counts(kv, 9, 1, 0);
    run_seq(kv, 0, ids, 40, 0);
    expect_counts(kv, 9, 1, 0);
    ids[10] = 999;
    run_seq(kv, 0, ids, 40, 1); /* a fork keeps both */
    expect_counts(kv, 8, 2, 0);
    lt_kv_destroy(kv);
}

/* What another history has behind the same ids, on the page where they end. */
static void test_follow(void)
{
    lt_kv *kv = new_kv(10);
    int32_t ids[200], wanted[200];
    lt_kv_copy copy;
    fill(ids, 200, 1);
    memcpy(wanted, ids, sizeof ids);
    run_seq(kv, 0, ids, 120, 1);
    CHECK(open_seq(kv, 1, 0, ids, 99, &copy) == 99, "all but the last");
    memset(ids + 100, 0, 100 * sizeof *ids);
    CHECK(lt_kv_follow(kv, 1, ids, 100, 8) == 8 && !memcmp(ids, wanted, 108 * sizeof *ids), "eight as asked");
    CHECK(lt_kv_follow(kv, 1, ids, 100, 50) == 20 && !memcmp(ids, wanted, 120 * sizeof *ids), "as many as there are");
    CHECK(lt_kv_follow(kv, 1, ids, 120, 50) == 0, "nothing comes after the last");
    ids[99]++;
    CHECK(lt_kv_follow(kv, 1, ids, 100, 8) == 0, "another id");
    CHECK(lt_kv_follow(kv, 2, ids, 100, 8) == 0, "not open");
    CHECK(open_seq(kv, 3, 5, wanted, 99, &copy) == 0 && lt_kv_follow(kv, 3, wanted, 100, 8) == 0, "another scope");
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
    lt_kv_destroy(kv);
}

static void test_evicts_oldest_leaf(void)
{
    lt_kv *kv = new_kv(6);
    int32_t a[128], b[128], c[128], d[64];
    lt_kv_copy copy;
    fill(a, 128, 1000), fill(b, 128, 2000), fill(c, 128, 3000), fill(d, 64, 4000);
    run_seq(kv, 0, a, 128, 1);
    run_seq(kv, 0, b, 128, 1);
    run_seq(kv, 0, c, 128, 1);
    expect_counts(kv, 0, 6, 0);
    CHECK(open_seq(kv, 1, 0, a, 64, &copy) == 64, "a is used again");
    lt_kv_close(kv, 1, a, 64, 0);
    run_seq(kv, 0, d, 64, 1); /* evicts the deepest page of a: its parent was touched, it was not */
    CHECK(open_seq(kv, 1, 0, a, 128, &copy) == 64, "a lost its second page only");
    CHECK(open_seq(kv, 2, 0, b, 128, &copy) == 128, "b is whole");
    lt_kv_close(kv, 1, a, 64, 0);
    lt_kv_close(kv, 2, b, 128, 0);
    CHECK(reserve(kv, 0, 0) == LT_E_ARG, "a closed sequence");
    open_seq(kv, 0, 1, d, 63, &copy);
    CHECK(reserve(kv, 0, 128) == LT_OK, "%s", lt_last_error()); /* evicts both pages of c */
    CHECK(open_seq(kv, 1, 0, c, 128, &copy) == 0, "c was the oldest");
    CHECK(open_seq(kv, 2, 0, b, 128, &copy) == 128, "b is still whole");
    CHECK(open_seq(kv, 3, 0, d, 64, &copy) == 64, "d is still there");
    lt_kv_destroy(kv);
}

static void test_full(void)
{
    lt_kv *kv = new_kv(3);
    int32_t ids[192], n;
    lt_kv_copy copy;
    fill(ids, 192, 1);
    open_seq(kv, 0, 0, ids, 0, &copy);
    open_seq(kv, 1, 0, ids, 0, &copy);
    lt_kv_need needs[2] = {{0, 65}, {1, 65}};
    CHECK(lt_kv_reserve(kv, needs, 2) == LT_E_KV_FULL, "four pages of three");
    expect_counts(kv, 3, 0, 0);
    CHECK(lt_kv_table(kv, 0, &n) && n == 0, "nothing changed");
    CHECK(reserve(kv, 0, MAX_TOKENS + 64) == LT_E_LIMIT, "more than a sequence holds");
    CHECK(reserve(kv, 0, -1) == LT_E_LIMIT, "a negative count");
    needs[1].n_tokens = 64;
    CHECK(lt_kv_reserve(kv, needs, 2) == LT_OK, "%s", lt_last_error());
    lt_kv_publish(kv, 0, ids, 65);
    CHECK(open_seq(kv, 2, 0, ids, 100, &copy) == 64, "no page for a copy is needed");
    CHECK(open_seq(kv, 3, 0, ids, 50, &copy) == 0 && copy.n_tokens == 0, "no page for a copy is left");
    lt_kv_close(kv, 1, ids, 0, 0);
    CHECK(open_seq(kv, 4, 0, ids, 50, &copy) == 50, "now there is");
    lt_kv_destroy(kv);
}

/* Two pages, both cached: the copy must take the other one, not its own source. */
static void test_source_survives(void)
{
    lt_kv *kv = new_kv(2);
    int32_t a[64], b[64];
    lt_kv_copy copy;
    fill(a, 64, 1), fill(b, 64, 500);
    run_seq(kv, 0, a, 40, 1);
    run_seq(kv, 0, b, 64, 1);
    CHECK(open_seq(kv, 1, 0, a, 30, &copy) == 30 && copy.src != copy.dst, "%d -> %d", copy.src, copy.dst);
    expect_counts(kv, 0, 1, 1);
    CHECK(open_seq(kv, 2, 0, a, 35, &copy) == 0, "one page cannot be source and room");
    lt_kv_destroy(kv);
}

/* A prompt that repeats a cached tail makes it the newest, so that the other one goes first. */
static void test_repeat_is_use(void)
{
    lt_kv *kv = new_kv(3);
    int32_t a[40], b[40], c[128];
    lt_kv_copy copy;
    fill(a, 40, 1), fill(b, 40, 500), fill(c, 128, 1000);
    run_seq(kv, 0, a, 40, 1);
    run_seq(kv, 0, b, 40, 1);
    open_seq(kv, 1, 0, a, 0, &copy); /* cache refused: nothing but closing touches the twin */
    CHECK(reserve(kv, 1, 20) == LT_OK, "%s", lt_last_error());
    lt_kv_close(kv, 1, a, 20, 1);
    open_seq(kv, 2, 0, c, 0, &copy);
    CHECK(reserve(kv, 2, 128) == LT_OK, "%s", lt_last_error());
    CHECK(open_seq(kv, 1, 0, b, 39, &copy) == 0, "b made room");
    lt_kv_close(kv, 2, c, 0, 0);
    CHECK(open_seq(kv, 3, 0, a, 39, &copy) == 39, "a stayed");
    lt_kv_destroy(kv);
}

static void test_arguments(void)
{
    lt_kv *kv = NULL;
    CHECK(lt_kv_create(&kv, 0, 1, 1, 0) == LT_E_ARG && lt_kv_create(&kv, 1, 0, 1, 0) == LT_E_ARG &&
              lt_kv_create(&kv, 1, 1, 0, 0) == LT_E_ARG,
          "zero");
    for (int64_t i = 1; i <= 8; i++) {
        lt_fail_alloc_at(i);
        CHECK(lt_kv_create(&kv, 4, 4, 400, 0) == LT_E_NOMEM && !kv, "allocation %d", (int)i);
    }
    lt_fail_alloc_at(0);
    lt_kv_destroy(NULL);
    kv = new_kv(4);
    int32_t id = 1, n;
    lt_kv_copy copy;
    CHECK(lt_kv_open(kv, N_SEQS, 0, &id, 1, &n, &copy) == LT_E_ARG && lt_kv_open(kv, -1, 0, &id, 1, &n, &copy) == LT_E_ARG, "range");
    open_seq(kv, 0, 0, &id, 1, &copy);
    CHECK(lt_kv_open(kv, 0, 0, &id, 1, &n, &copy) == LT_E_ARG, "already open");
    CHECK(lt_kv_open(kv, 1, 0, &id, MAX_TOKENS + 64, &n, &copy) == LT_E_LIMIT, "too long");
    lt_kv_close(kv, 5, &id, 0, 1);
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
    kv->pages[2].refs = 1;
    CHECK(lt_kv_check(kv) == LT_E_ARG, "a wrong reference count is found");
    lt_kv_destroy(kv);
}

int main(void)
{
    test_share_with_running_owner();
    test_dedup();
    test_tails();
    test_follow();
    test_evicts_oldest_leaf();
    test_full();
    test_source_survives();
    test_repeat_is_use();
    test_arguments();
    return check_report("test_kv");
}
