/* test_session.c - histories out of an engine and into another: the same bits go on, for every type of cache; wrong calls, wrong values. */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "core/memory.h"
#include "llamatw.h"
#include "tiny_model.h"

enum { N_PROMPT = 150, N_MORE = 20, N_ALL = N_PROMPT + N_MORE };

static lt_engine *open_tiny(int32_t k_type, int32_t v_type)
{
    lt_engine *e = NULL;
    lt_engine_opts o;
    lt_engine_opts_init(&o);
    o.n_ctx = 256, o.n_seqs = 3, o.n_batch = 256, o.n_threads = o.n_threads_batch = 1;
    o.k_type = k_type, o.v_type = v_type;
    CHECK(lt_engine_open(&e, tiny_model(NULL), &o) == LT_OK, "%s", lt_last_error());
    return e;
}

static int32_t open_seq(lt_engine *e, const int32_t *ids, int32_t n, int32_t *n_cached)
{
    int32_t seq = -1;
    lt_sampling s;
    lt_sampling_init(&s);
    s.temperature = 0;
    s.flags = LT_SAMPLE_IGNORE_EOS;
    CHECK(lt_seq_open(e, ids, n, 0, &s, &seq, n_cached) == LT_OK, "%s", lt_last_error());
    return seq;
}

static float step(lt_engine *e, int32_t seq, int32_t advance, int32_t *token)
{
    lt_result r = {0};
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = advance}, 1, &r) == LT_OK, "%s", lt_last_error());
    *token = r.out ? r.out->token : 0;
    return r.out ? r.out->logprob : 0;
}

/* A prompt of 150 ids and 20 more tokens, whose log-probabilities go into logprob. */
static void generate(lt_engine *e, int32_t seq, int32_t n_left, int32_t *token, float *logprob)
{
    for (int32_t i = 0; i < N_MORE; i++)
        logprob[i] = step(e, seq, i ? 1 : n_left, &token[i]);
}

static size_t page_bytes(const lt_engine *e)
{
    lt_engine_info info;
    CHECK(lt_engine_describe(e, &info) == LT_OK && info.page_bytes > 0, "%s", lt_last_error());
    CHECK(info.kv_bytes == info.page_bytes * info.n_pages, "a page has %d bytes", (int)info.page_bytes);
    return (size_t)info.page_bytes;
}

static void read_pages(lt_engine *e, int32_t seq, int32_t n_pages, uint8_t *pages)
{
    size_t need;
    for (int32_t i = 0; i < n_pages; i++)
        CHECK(lt_seq_read_page(e, seq, i, pages + (size_t)i * page_bytes(e), page_bytes(e), &need) == LT_OK && need == page_bytes(e), "%s",
              lt_last_error());
}

static int write_pages(lt_engine *e, int32_t seq, int32_t n_pages, const uint8_t *pages)
{
    int rc = LT_OK;
    for (int32_t i = 0; i < n_pages && rc == LT_OK; i++)
        rc = lt_seq_write_page(e, seq, i, pages + (size_t)i * page_bytes(e), page_bytes(e));
    return rc;
}

/* What an engine computed goes on in another one; a page holds the same bytes whatever lay in its memory before. */
static void test_round_trip(int32_t k_type, int32_t v_type)
{
    lt_engine *a = open_tiny(k_type, v_type), *b = open_tiny(k_type, v_type);
    int32_t ids[N_ALL + 1], cached, token[N_MORE], again[N_MORE];
    float logprob[N_MORE], logprob_again[N_MORE];
    const size_t bytes = 3 * page_bytes(a);
    uint8_t *pages = malloc(bytes), *pages_b = malloc(bytes);
    for (int32_t i = 0; i < N_ALL; i++)
        ids[i] = 3 + (i * i + 7 * i) % 250;
    int32_t seq = open_seq(a, ids, N_PROMPT, &cached);
    generate(a, seq, N_PROMPT, token, logprob);
    int32_t twin = open_seq(a, ids, N_PROMPT, &cached);
    step(a, twin, N_PROMPT - cached, &again[0]);
    read_pages(a, twin, 3, pages);
    int32_t scrap = open_seq(b, ids + 20, N_PROMPT, &cached); /* leaves other numbers in the pages */
    step(b, scrap, N_PROMPT, &again[0]);
    CHECK(lt_seq_close(b, scrap, 0) == LT_OK && lt_cache_forget(b, ids + 20, N_PROMPT, 0, 0) == LT_OK, "%s", lt_last_error());
    seq = open_seq(b, ids, N_PROMPT, &cached);
    CHECK(!cached && write_pages(b, seq, 3, pages) == LT_OK, "types %d %d: %s", k_type, v_type, lt_last_error());
    read_pages(b, seq, 3, pages_b);
    CHECK(!memcmp(pages, pages_b, bytes), "types %d %d: pages differ after a round trip", k_type, v_type);
    CHECK(lt_seq_close(b, seq, 1) == LT_OK, "%s", lt_last_error());
    seq = open_seq(b, ids, N_PROMPT, &cached);
    CHECK(cached == N_PROMPT - 1, "%d of %d tokens in the tree", cached, N_PROMPT);
    generate(b, seq, N_PROMPT - cached, again, logprob_again);
    CHECK(!memcmp(token, again, sizeof token) && !memcmp(logprob, logprob_again, sizeof logprob), "types %d %d: another text", k_type,
          v_type);
    free(pages);
    free(pages_b);
    lt_engine_close(a);
    lt_engine_close(b);
}

/* One value of a page replaced by what is never written: refused, and the page stays to be written. */
static void refuse_value(lt_engine *e, int32_t seq, uint8_t *page, size_t at, const void *value, size_t n, const char *what)
{
    uint8_t held[4];
    memcpy(held, page + at, n);
    memcpy(page + at, value, n);
    CHECK(lt_seq_write_page(e, seq, 0, page, page_bytes(e)) == LT_E_FORMAT, "%s was taken", what);
    memcpy(page + at, held, n);
}

static void test_values(void)
{
    static const struct {
        int32_t type;
        uint32_t bad[3];
        size_t n;
    } cases[] = {
        {LT_KV_F32, {0x7f800000, 0xff800000, 0x7fc00001}, 4},
        {LT_KV_F16, {0x7c00, 0xfc00, 0x7e01}, 2},
        {LT_KV_BF16, {0x7f80, 0xff80, 0x7fc1}, 2},
        {LT_KV_I16, {8192, 0xe000, 0x8000}, 2},
        {LT_KV_Q8_0, {0x80, 0x80, 0x80}, 1},
    };
    int32_t ids[64], cached, token;
    for (int32_t i = 0; i < 64; i++)
        ids[i] = 3 + i;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_engine *e = open_tiny(cases[i].type, cases[i].type);
        const size_t n = page_bytes(e), lane = n / TINY_LAYERS, half = lane / 2;
        uint8_t *page = malloc(n);
        int32_t seq = open_seq(e, ids, 64, &cached);
        step(e, seq, 64, &token);
        read_pages(e, seq, 1, page);
        lt_seq_close(e, seq, 0);
        lt_cache_forget(e, ids, 64, 0, 0);
        seq = open_seq(e, ids, 64, &cached);
        CHECK(!cached, "%d cached", cached);
        for (int j = 0; j < 3; j++) {
            refuse_value(e, seq, page, 0, &cases[i].bad[j], cases[i].n, "a first key");
            refuse_value(e, seq, page, lane + half, &cases[i].bad[j], cases[i].n, "a value of the last layer");
        }
        if (cases[i].type == LT_KV_I16) /* 16 dimensions: codes, then 64 scales */
            for (int j = 0; j < 3; j++)
                refuse_value(e, seq, page, 16 * 64 * 2, &(const float[]){INFINITY, -1.0f, NAN}[j], 4, "a scale");
        if (cases[i].type == LT_KV_Q8_0)
            for (int j = 0; j < 3; j++)
                refuse_value(e, seq, page, 16 * 64, &(const uint16_t[]){0x7c00, 0x8001, 0x7e00}[j], 2, "a scale");
        CHECK(lt_seq_write_page(e, seq, 0, page, n) == LT_OK, "%s", lt_last_error());
        free(page);
        lt_engine_close(e);
    }
}

static void test_wrong_calls(void)
{
    lt_engine *e = open_tiny(LT_KV_I16, LT_KV_I16);
    int32_t ids[256], cached, token;
    const size_t n = page_bytes(e);
    uint8_t *page = calloc(1, n);
    size_t need = 0;
    for (int32_t i = 0; i < 256; i++)
        ids[i] = 3 + i % 250;
    const int32_t seq = open_seq(e, ids, 100, &cached);
    const int64_t n_allocations = lt_alloc_count();
    CHECK(lt_seq_read_page(e, seq, 0, page, n, &need) == LT_E_ARG, "nothing was computed and something read");
    step(e, seq, 70, &token);
    CHECK(lt_seq_read_page(e, seq, 0, page, n - 1, &need) == LT_E_CAP && need == n, "need %zu", need);
    CHECK(lt_seq_read_page(e, seq, 0, NULL, n, &need) == LT_E_CAP && need == n, "need %zu", need);
    CHECK(lt_seq_read_page(e, seq, 0, page, n, NULL) == LT_E_ARG, "need NULL");
    CHECK(lt_seq_read_page(e, seq, 1, page, n, &need) == LT_OK, "%s", lt_last_error());
    CHECK(lt_seq_write_page(e, seq, 1, page, n - 1) == LT_E_FORMAT, "a short page was taken");
    CHECK(lt_seq_write_page(e, seq, 1, NULL, n) == LT_E_ARG, "NULL was taken");
    const int32_t wrong[] = {-1, 3, INT32_MAX, INT32_MIN, 2};
    for (int i = 0; i < 5; i++) {
        CHECK(lt_seq_read_page(e, wrong[i], 0, page, n, &need) == LT_E_ARG, "sequence %d was read", wrong[i]);
        CHECK(lt_seq_write_page(e, wrong[i], 0, page, n) == LT_E_ARG, "sequence %d was written", wrong[i]);
        CHECK(lt_seq_read_page(e, seq, wrong[i], page, n, &need) == LT_E_ARG, "page %d was read", wrong[i]);
        CHECK(lt_seq_write_page(e, seq, wrong[i], page, n) == LT_E_ARG, "page %d was written", wrong[i]);
        CHECK(i == 4 || lt_cache_forget(e, ids, i == 1 ? 0 : wrong[i] == 3 ? 0 : wrong[i], 0, 0) == LT_E_ARG, "%d ids", wrong[i]);
    }
    CHECK(lt_seq_write_page(e, seq, 0, page, n) == LT_E_ARG, "a computed page was written");
    CHECK(lt_seq_write_page(e, seq, 1, page, n) == LT_OK, "%s", lt_last_error());
    CHECK(lt_seq_write_page(e, seq, 1, page, n) == LT_E_ARG, "a page after the end was written");
    CHECK(lt_cache_forget(e, NULL, 1, 0, 0) == LT_E_ARG && lt_cache_forget(e, ids, 1, -1, 0) == LT_E_ARG, "wrong arguments");
    CHECK(lt_seq_read_page(NULL, 0, 0, page, n, &need) == LT_E_ARG && lt_seq_write_page(NULL, 0, 0, page, n) == LT_E_ARG &&
              lt_cache_forget(NULL, ids, 1, 0, 0) == LT_E_ARG,
          "NULL engine");
    CHECK(lt_seq_read_page(e, seq, 0, page, n, &need) == LT_OK && lt_seq_shift(e, seq, 0, 10) == LT_OK, "%s", lt_last_error());
    CHECK(lt_seq_read_page(e, seq, 0, page, n, &need) == LT_E_ARG, "cells that were moved were read");
    CHECK(lt_alloc_count() == n_allocations, "these calls allocate");
    free(page);
    lt_engine_close(e);
}

/* Pages that others use are not taken: the call changes nothing, and works once they have gone. */
static void test_full_pool(void)
{
    lt_engine *e = open_tiny(LT_KV_I16, LT_KV_I16);
    int32_t ids[200], other[200], cached, token;
    for (int32_t i = 0; i < 200; i++)
        ids[i] = 3 + i, other[i] = 250 - i;
    uint8_t *pages = malloc(3 * page_bytes(e));
    const int32_t runs = open_seq(e, ids, 150, &cached);
    step(e, runs, 150, &token);
    read_pages(e, runs, 3, pages);
    const int32_t seq = open_seq(e, other, 150, &cached);
    CHECK(write_pages(e, seq, 3, pages) == LT_E_KV_FULL, "three pages of one");
    lt_seq_close(e, runs, 0);
    CHECK(lt_seq_write_page(e, seq, 1, pages, page_bytes(e)) == LT_OK, "%s", lt_last_error());
    CHECK(lt_seq_close(e, seq, 0) == LT_OK, "%s", lt_last_error());
    open_seq(e, other, 150, &cached);
    CHECK(!cached, "%d tokens stayed of a history that was given up", cached);
    free(pages);
    lt_engine_close(e);
}

int main(void)
{
    for (int32_t k = LT_KV_F32; k <= LT_KV_Q8_0; k++)
        for (int32_t v = LT_KV_F32; v <= LT_KV_Q8_0; v++)
            test_round_trip(k, v);
    test_values();
    test_wrong_calls();
    test_full_pool();
    return check_report("session");
}
