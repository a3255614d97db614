/* test_engine.c - opening, stepping and closing on a tiny model: wrong files, wrong calls, no pages, no memory, no finite logits. */
#include <fenv.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "check.h"
#include "core/floats.h"
#include "core/memory.h"
#include "llamatw.h"
#include "tiny_model.h"

static lt_engine_opts options(void)
{
    lt_engine_opts o;
    lt_engine_opts_init(&o);
    o.n_ctx = 256, o.n_seqs = 3, o.n_batch = 128, o.n_threads = 2, o.n_threads_batch = 2;
    return o;
}

static lt_engine *open_tiny(void)
{
    lt_engine *e = NULL;
    const lt_engine_opts o = options();
    CHECK(lt_engine_open(&e, tiny_model(NULL), &o) == LT_OK, "%s", lt_last_error());
    return e;
}

/* ---- files ---- */

static void refuse(const char *what, int code, tiny_change change)
{
    lt_engine *e = NULL;
    const lt_engine_opts o = options();
    const int rc = lt_engine_open(&e, tiny_model(&change), &o);
    CHECK(rc == code && !e == (code != LT_OK), "%s %s: code %d (%s)", change.key, what, rc, lt_last_error());
    CHECK(rc == LT_OK || strstr(lt_last_error(), change.key), "%s %s: the error does not name it: %s", change.key, what, lt_last_error());
    lt_engine_close(e);
}

static void test_hyperparameters(void)
{
    static const struct {
        const char *key;
        uint32_t bad[5];
    } counts[] = {
        {"llama.block_count", {0, 1025, 0x7fffffff, 0xffffffff, 3}},
        {"llama.embedding_length", {0, 31, 0xffffffff, 64, 1u << 31}},
        {"llama.feed_forward_length", {0, 0xffffffff, 1u << 21, 32, 96}},
        {"llama.context_length", {0, 0xffffffff, 0x7fffffff, 1u << 30, 1u << 29}},
        {"llama.attention.head_count", {0, 3, 0xffffffff, 2000, 33}},
        {"llama.attention.head_count_kv", {0, 3, 0xffffffff, 5, 2}},
        {"llama.rope.dimension_count", {0, 1, 15, 17, 0xffffffff}},
        {"llama.vocab_size", {0, 261, 263, 0xffffffff, 1}},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int j = 0; j < 5; j++) {
            lt_engine *e = NULL;
            const lt_engine_opts o = options();
            const tiny_change c = {.key = counts[i].key, .type = 4, .value.u = counts[i].bad[j]};
            const int rc = lt_engine_open(&e, tiny_model(&c), &o);
            CHECK(rc == LT_E_FORMAT && !e && lt_last_error()[0], "%s = %u: code %d (%s)", c.key, c.value.u, rc, lt_last_error());
        }
    static const float numbers[] = {0.0f, -1.0f, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        refuse("bad number", LT_E_FORMAT, (tiny_change){.key = "llama.attention.layer_norm_rms_epsilon", .type = 6, .value.f = numbers[i]});
        refuse("bad number", LT_E_FORMAT, (tiny_change){.key = "llama.rope.freq_base", .type = 6, .value.f = numbers[i]});
    }
    static const char *const required[] = {"llama.block_count",    "llama.embedding_length",     "llama.feed_forward_length",
                                           "llama.context_length", "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        refuse("absent", LT_E_FORMAT, (tiny_change){.key = required[i], .type = LEAVE_OUT});
        refuse("a string", LT_E_FORMAT, (tiny_change){.key = required[i], .type = 8});
        refuse("a bool", LT_E_FORMAT, (tiny_change){.key = required[i], .type = 7, .value.u = 1});
        refuse("a double", LT_E_FORMAT, (tiny_change){.key = required[i], .type = 12, .value.wide = 1});
    }
    refuse("too wide", LT_E_FORMAT, (tiny_change){.key = "llama.block_count", .type = 10, .value.wide = 1ull << 33});
    refuse("another integer type", LT_OK, (tiny_change){.key = "llama.block_count", .type = 10, .value.wide = 2});
}

static void test_shapes(void)
{
    tiny_tensor t[32];
    const int n = tiny_tensors(t, NULL);
    for (int i = 0; i < n; i++) {
        refuse("absent", LT_E_FORMAT, (tiny_change){.key = t[i].name, .type = LEAVE_OUT});
        refuse("a row more", LT_E_FORMAT, (tiny_change){.key = t[i].name, .ne = {t[i].ne[0], t[i].ne[1] + 1}});
        refuse("wider", LT_E_FORMAT, (tiny_change){.key = t[i].name, .ne = {t[i].ne[0] + 32, t[i].ne[1]}});
        if (t[i].ne[1] > 1)
            refuse("one row", LT_E_FORMAT, (tiny_change){.key = t[i].name, .ne = {t[i].ne[0], 1}});
        if (!t[i].vector && t[i].ne[0] != t[i].ne[1] && t[i].ne[1] % 32 == 0)
            refuse("transposed", LT_E_FORMAT, (tiny_change){.key = t[i].name, .ne = {t[i].ne[1], t[i].ne[0]}});
    }
}

/* Any type of keys with any type of values; one that does not exist is the caller's mistake. */
static void test_kv_types(void)
{
    for (int32_t k = LT_KV_F32 - 1; k <= LT_KV_Q8_0 + 1; k++)
        for (int32_t v = LT_KV_F32 - 1; v <= LT_KV_Q8_0 + 1; v++) {
            lt_engine_opts o = options();
            lt_engine *e = NULL;
            o.k_type = k, o.v_type = v;
            const bool exist = k >= LT_KV_F32 && k <= LT_KV_Q8_0 && v >= LT_KV_F32 && v <= LT_KV_Q8_0;
            const int rc = lt_engine_open(&e, tiny_model(NULL), &o);
            CHECK(rc == (exist ? LT_OK : LT_E_ARG) && !e == !exist, "keys %d, values %d: code %d (%s)", k, v, rc, lt_last_error());
            lt_engine_close(e);
        }
}

/* ---- calls ---- */

static int32_t open_seq(lt_engine *e, int32_t n, int32_t first, int32_t *n_cached)
{
    int32_t prompt[300], seq = -1;
    lt_sampling s;
    lt_sampling_init(&s);
    s.temperature = 0;
    s.flags = LT_SAMPLE_IGNORE_EOS;
    for (int32_t i = 0; i < n; i++)
        prompt[i] = 3 + (first + i) % 250;
    const int rc = lt_seq_open(e, prompt, n, 0, &s, &seq, n_cached);
    CHECK(rc == LT_OK, "%s", lt_last_error());
    return seq;
}

static void expect_step(lt_engine *e, const lt_row *rows, int32_t n, int code, const char *what)
{
    lt_engine_stats before, after;
    lt_result r = {0};
    lt_engine_read_stats(e, &before);
    const int rc = lt_step(e, rows, n, &r);
    lt_engine_read_stats(e, &after);
    CHECK(rc == code, "%s: code %d (%s)", what, rc, lt_last_error());
    if (rc < 0)
        CHECK(!memcmp(&before, &after, sizeof before) && !r.out, "%s: a failed step changed the engine", what);
    else
        CHECK(after.model_ns > before.model_ns && after.step_ns - before.step_ns > after.model_ns - before.model_ns,
              "%s: the model's part is not a part of the step", what);
}

static void test_wrong_calls(void)
{
    lt_engine *e = open_tiny();
    int32_t cached, seq = open_seq(e, 100, 0, &cached);
    lt_sampling s;
    lt_sampling_init(&s);
    lt_engine_opts o = options();
    int32_t id, bad[] = {-1, TINY_VOCAB, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        CHECK(lt_seq_open(e, &bad[i], 1, 0, &s, &id, &cached) == LT_E_ARG, "token %d was taken", bad[i]);
        CHECK(lt_seq_close(e, bad[i], 0) == LT_E_ARG, "sequence %d was closed", bad[i]);
        expect_step(e, &(lt_row){.seq = bad[i], .advance = 1}, 1, LT_E_ARG, "wrong sequence");
        expect_step(e, &(lt_row){.seq = seq, .advance = i == 1 ? 0 : bad[i]}, 1, LT_E_ARG, "wrong advance");
        expect_step(e, &(lt_row){.seq = seq, .advance = 1}, bad[i], LT_E_ARG, "wrong row count");
        o.n_seqs = bad[i];
        CHECK(lt_engine_open(&(lt_engine *){NULL}, tiny_model(NULL), &o) == LT_E_ARG, "n_seqs %d", bad[i]);
    }
    s.flags = 128;
    CHECK(lt_seq_open(e, (int32_t[]){3}, 1, 0, &s, &id, &cached) == LT_E_ARG, "an unknown flag was taken");
    s.flags = 0;
    s.temperature = NAN;
    CHECK(lt_seq_open(e, (int32_t[]){3}, 1, 0, &s, &id, &cached) == LT_E_ARG, "temperature NaN was taken");
    expect_step(e, (lt_row[]){{.seq = seq, .advance = 1}, {.seq = seq, .advance = 1}}, 2, LT_E_ARG, "a sequence twice");
    expect_step(e, &(lt_row){.seq = seq, .advance = 101}, 1, LT_E_ARG, "further than the history");
    expect_step(e, NULL, 1, LT_E_ARG, "no rows");
    expect_step(e, &(lt_row){.seq = seq, .advance = 100}, 1, LT_OK, "a right step after all");
    CHECK(lt_step(NULL, NULL, 0, NULL) == LT_E_ARG, "NULL engine");
    CHECK(lt_seq_close(e, seq, 1) == LT_OK && lt_seq_close(e, seq, 1) == LT_E_ARG, "closing twice");
    lt_engine_close(e);
    lt_engine_close(NULL);
}

/* Three sequences of 100 do not fit into 256 tokens: the third gets LT_E_KV_FULL, and its turn once another has gone. */
static void test_full_pool(void)
{
    lt_engine *e = open_tiny();
    int32_t cached, seq[3];
    for (int i = 0; i < 3; i++)
        seq[i] = open_seq(e, 100, i * 17 + 1, &cached);
    expect_step(e, &(lt_row){.seq = seq[0], .advance = 100}, 1, LT_OK, "first");
    expect_step(e, &(lt_row){.seq = seq[1], .advance = 100}, 1, LT_OK, "second");
    expect_step(e, &(lt_row){.seq = seq[2], .advance = 100}, 1, LT_E_KV_FULL, "third");
    CHECK(lt_seq_close(e, seq[0], 1) == LT_OK, "close");
    expect_step(e, &(lt_row){.seq = seq[2], .advance = 100}, 1, LT_OK, "third again");
    lt_engine_close(e);
}

/* The panels that a file read in pieces gives are those of a mapped one: so are the tokens, and their probabilities to the bit. */
static void test_ways_of_loading(void)
{
    float first = 0;
    for (int32_t load = LT_LOAD_MMAP; load <= LT_LOAD_DIRECT; load++) {
        lt_engine_opts o = options();
        lt_engine *e = NULL;
        lt_result r;
        int32_t cached;
        o.load = load;
        const int rc = lt_engine_open(&e, tiny_model(NULL), &o);
        CHECK(rc == LT_OK || (load == LT_LOAD_DIRECT && rc == LT_E_UNSUPPORTED), "load %d: %s", load, lt_last_error());
        if (rc < 0)
            continue;
        const int32_t seq = open_seq(e, 100, 0, &cached);
        CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 100}, 1, &r) == LT_OK, "%s", lt_last_error());
        first = load == LT_LOAD_MMAP ? r.out->logprob : first;
        CHECK(r.out->logprob == first && first < 0, "load %d: logprob %g, not %g", load, (double)r.out->logprob, (double)first);
        lt_engine_close(e);
    }
}

/* Neither how the caller's thread rounds nor what the environment says of kernels passes unnoticed into the bits. */
static float logprob_of_a_prompt(void)
{
    lt_engine *e = open_tiny();
    int32_t cached, seq = open_seq(e, 100, 0, &cached);
    lt_result r = {0};
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 100}, 1, &r) == LT_OK, "%s", lt_last_error());
    const float logprob = r.out->logprob;
    lt_engine_close(e);
    return logprob;
}

static __attribute__((noinline)) bool is_flushed(float denormal) /* computed here and now: compilers know nothing of modes */
{
    volatile float x = denormal;
    return x * 0.5f == 0.0f;
}

static void test_environment(void)
{
    const float usual = logprob_of_a_prompt();
    fesetround(FE_UPWARD);
    const float upward = logprob_of_a_prompt();
    CHECK(fegetround() == FE_UPWARD, "the caller's rounding is not as before");
    fesetround(FE_TONEAREST);
#if defined(__x86_64__)
    const unsigned usual_bits = _mm_getcsr(), fast = usual_bits | 0x8040; /* as -ffast-math has it: denormals are zero */
    _mm_setcsr(fast);
    const bool flushed = is_flushed(1e-40f);
    const fenv_t before = lt_usual_floats();
    CHECK(flushed && !is_flushed(1e-40f), "denormals are zero");
    lt_restore_floats(before);
    CHECK((_mm_getcsr() & fast) == fast, "the caller's denormals are not as before");
    _mm_setcsr(usual_bits);
#endif
    CHECK(upward == usual && usual < 0, "logprob %g, not %g", (double)upward, (double)usual);

    lt_engine *e = NULL;
    const lt_engine_opts o = options();
    const char *mask = getenv("LT_CPU_MASK");
    char old[32];
    snprintf(old, sizeof old, "%s", mask ? mask : "");
    setenv("LT_CPU_MASK", "avx-512", 1);
    CHECK(lt_engine_open(&e, tiny_model(NULL), &o) == LT_E_ARG && !e && strstr(lt_last_error(), "avx-512"), "%s", lt_last_error());
    if (mask)
        setenv("LT_CPU_MASK", old, 1);
    else
        unsetenv("LT_CPU_MASK");
}

/* Until the context is full: flagged at the last token that fits, refused beyond. */
static void test_full_context(void)
{
    lt_engine *e = open_tiny();
    int32_t cached, seq = open_seq(e, 250, 0, &cached);
    lt_result r;
    for (int32_t left = 250; left > 0; left -= 125)
        CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 125}, 1, &r) == LT_OK, "%s", lt_last_error());
    int32_t n = 251;
    while (!(r.out->flags & LT_OUT_FULL) && n < 300) {
        CHECK(r.out->flags & LT_OUT_TOKEN, "no token at %d", n);
        if (lt_step(e, &(lt_row){.seq = seq, .advance = 1}, 1, &r) < 0)
            break;
        n++;
    }
    CHECK(n == 256 && r.out->flags & LT_OUT_FULL, "full at %d", n);
    expect_step(e, &(lt_row){.seq = seq, .advance = 1}, 1, LT_OK, "the last position"); /* computes token 256, samples one more */
    expect_step(e, &(lt_row){.seq = seq, .advance = 1}, 1, LT_E_LIMIT, "beyond the context");
    lt_engine_close(e);
}

static void test_prefix_cache(void)
{
    lt_engine *e = open_tiny();
    int32_t cached, seq = open_seq(e, 100, 0, &cached);
    CHECK(cached == 0, "%d cached in an empty pool", cached);
    expect_step(e, &(lt_row){.seq = seq, .advance = 100}, 1, LT_OK, "prompt");
    const int32_t twin = open_seq(e, 100, 0, &cached);
    CHECK(cached == 99, "%d cached from a running sequence, want its full page and all but one token of the next", cached);
    lt_seq_close(e, twin, 1);
    lt_seq_close(e, seq, 1);
    open_seq(e, 100, 0, &cached);
    CHECK(cached == 99, "%d cached after it ended, want all but the last token", cached);
    lt_engine_close(e);
}

/* A sequence that was opened too early takes what another one computed meanwhile. */
static void test_adopt(void)
{
    lt_engine *e = open_tiny();
    int32_t cached, n, seq = open_seq(e, 100, 0, &cached), late = open_seq(e, 100, 0, &cached);
    lt_result r;
    lt_sampling s;
    lt_sampling_init(&s);
    CHECK(cached == 0, "%d cached of what nobody has computed", cached);
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 100}, 1, &r) == LT_OK, "%s", lt_last_error());
    const int32_t token = r.out->token;
    const float logprob = r.out->logprob;
    CHECK(lt_seq_adopt(e, late, &n) == LT_OK && n == 99, "%d taken (%s)", n, lt_last_error());
    CHECK(lt_seq_adopt(e, late, &n) == LT_OK && n == 99, "%d the second time", n);
    CHECK(lt_step(e, &(lt_row){.seq = late, .advance = 1}, 1, &r) == LT_OK, "%s", lt_last_error());
    CHECK(r.out->token == token && r.out->logprob == logprob, "token %d, not %d", r.out->token, token);
    s.flags = LT_SAMPLE_NO_CACHE;
    CHECK(lt_seq_open(e, (int32_t[]){3}, 1, 0, &s, &n, &cached) == LT_OK, "%s", lt_last_error());
    CHECK(lt_seq_adopt(e, n, &cached) == LT_E_ARG, "a sequence that wants no cache");
    CHECK(lt_seq_adopt(e, 99, &n) == LT_E_ARG && lt_seq_adopt(NULL, 0, &n) == LT_E_ARG, "wrong calls");
    lt_engine_close(e);
}

/* Guesses: whatever n_draft, the tokens are those of one at a time; they end at the context's end; what is wrong is refused. */
static void test_drafts(void)
{
    enum { N = 120 };
    int32_t want[N + 32], n_steps[3] = {0}, cached;
    for (int32_t pass = 0; pass < 3; pass++) { /* the third one finds the answer in the prefix tree */
        const int32_t n_draft = pass ? LT_MAX_DRAFT : 0;
        lt_engine *e = pass == 2 ? NULL : open_tiny();
        static lt_engine *kept;
        e = e ? e : kept;
        lt_result r;
        int32_t n = 0, seq = open_seq(e, 100, 0, &cached), advance = 100 - cached;
        for (; n < N; n_steps[pass]++) {
            const int rc = lt_step(e, &(lt_row){.seq = seq, .advance = advance, .n_draft = n_draft}, 1, &r);
            CHECK(rc == LT_OK && r.n_out >= 1, "%s", lt_last_error());
            CHECK(r.n_out <= 1 + r.out->n_drafted && r.out->n_drafted <= n_draft, "%d of %d", r.n_out, r.out->n_drafted);
            for (int32_t i = 0; rc == LT_OK && i < r.n_out; i++, n++) {
                want[n] = pass ? want[n] : r.out[i].token;
                CHECK(n >= N || r.out[i].token == want[n], "token %d is %d, not %d", n, r.out[i].token, want[n]);
            }
            advance = 1;
        }
        kept = e;
        CHECK(lt_seq_close(e, seq, 1) == LT_OK, "close");
        if (pass != 1)
            lt_engine_close(e);
    }
    printf("  %d tokens in %d steps; %d with guesses, %d when they were in the cache\n", N, n_steps[0], n_steps[1], n_steps[2]);
    CHECK(n_steps[2] < N / 2, "%d steps for tokens that the cache knows", n_steps[2]);
}

static void test_wrong_drafts(void)
{
    lt_engine *e = open_tiny();
    int32_t cached, seq = open_seq(e, 100, 0, &cached), n_full = 0;
    const uint32_t mask[(TINY_VOCAB + 31) / 32] = {~0u};
    lt_result r;
    expect_step(e, &(lt_row){.seq = seq, .advance = 100, .n_draft = -1}, 1, LT_E_ARG, "n_draft -1");
    expect_step(e, &(lt_row){.seq = seq, .advance = 100, .n_draft = LT_MAX_DRAFT + 1}, 1, LT_E_ARG, "n_draft too large");
    expect_step(e, &(lt_row){.seq = seq, .advance = 99, .n_draft = 1}, 1, LT_E_ARG, "n_draft before the end");
    expect_step(e, &(lt_row){.seq = seq, .advance = 100, .n_draft = 1, .mask = mask}, 1, LT_E_ARG, "n_draft and a mask");
    for (int i = 0; i < 3; i++) {
        const int32_t wrong[3] = {5, (int32_t[]){-1, TINY_VOCAB, INT32_MAX}[i], 5};
        expect_step(e, &(lt_row){.seq = seq, .advance = 100, .n_draft = 3, .draft = wrong}, 1, LT_E_ARG, "a guess that is no token");
    }
    expect_step(e, &(lt_row){.seq = seq, .advance = 100}, 1, LT_OK, "prompt");
    for (int n = 101; n < 256 && !n_full; n += r.n_out) {
        CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 1, .n_draft = LT_MAX_DRAFT}, 1, &r) == LT_OK, "%s", lt_last_error());
        n_full += (r.out[r.n_out - 1].flags & LT_OUT_FULL) != 0;
    }
    CHECK(n_full == 1, "the context was full %d times", n_full);
    lt_engine_close(e);
}

/* Given guesses, each with a mask of its own: a mask that leaves one token forces it, and the guess is right. */
static void test_given_drafts(void)
{
    enum { WORDS = (TINY_VOCAB + 31) / 32 };
    static uint32_t masks[4][WORDS];
    const int32_t forced[4] = {7, 200, 31, 32}, wrong[3] = {7, 199, 31};
    for (int i = 0; i < 4; i++)
        masks[i][forced[i] / 32] = 1u << forced[i] % 32;
    lt_engine *e = open_tiny();
    int32_t cached, seq = open_seq(e, 100, 0, &cached);
    lt_result r;
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 100, .n_draft = 3, .draft = forced, .mask = masks[0]}, 1, &r) == LT_OK, "%s",
          lt_last_error());
    CHECK(r.n_out == 4 && r.n_tokens == 103, "%d answers", r.n_out);
    for (int i = 0; i < r.n_out && i < 4; i++)
        CHECK(r.out[i].token == forced[i] && r.out[i].n_drafted == 3, "token %d is %d", i, r.out[i].token);
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 1, .n_draft = 3, .draft = wrong, .mask = masks[0]}, 1, &r) == LT_OK, "%s",
          lt_last_error());
    CHECK(r.n_out == 2 && r.out[1].token == 200, "a wrong guess ends the row: %d answers", r.n_out);
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 1, .n_draft = 3, .draft = wrong}, 1, &r) == LT_OK, "given guesses without a mask");
    lt_engine_close(e);
}

static void test_poisoned_weights(void)
{
    const tiny_change c = {.key = "blk.1.ffn_down.weight", .scale = 0x7e00}; /* NaN */
    lt_engine *e = NULL;
    const lt_engine_opts o = options();
    lt_result r;
    int32_t cached;
    CHECK(lt_engine_open(&e, tiny_model(&c), &o) == LT_OK, "%s", lt_last_error());
    const int32_t seq = open_seq(e, 70, 0, &cached);
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 70}, 1, &r) == LT_OK, "%s", lt_last_error());
    CHECK(r.out->flags == LT_OUT_NAN && r.out->token == -1, "flags %d token %d", r.out->flags, r.out->token);
    expect_step(e, &(lt_row){.seq = seq, .advance = 1}, 1, LT_E_ARG, "stepping a poisoned sequence");
    CHECK(lt_seq_close(e, seq, 1) == LT_OK, "close");
    open_seq(e, 70, 0, &cached);
    CHECK(cached == 0, "%d tokens of a poisoned sequence stayed in the cache", cached);
    lt_engine_close(e);
}

/* The file is only needed while loading: afterwards it may be cut to nothing. */
static void test_file_that_shrinks(void)
{
    lt_engine *e = open_tiny();
    int32_t cached, seq = open_seq(e, 20, 0, &cached);
    CHECK(!ftruncate(scratch()->fd, 0), "truncate");
    expect_step(e, &(lt_row){.seq = seq, .advance = 20}, 1, LT_OK, "a step after the file was cut");
    lt_engine_close(e);
}

static void sweep_failing_allocations(lt_engine_opts o)
{
    const char *path = tiny_model(NULL);
    int n_failed_opens = 0;
    for (int64_t n = 1; n < 2000; n++) {
        lt_engine *e = NULL;
        lt_fail_alloc_at(n);
        const int rc = lt_engine_open(&e, path, &o);
        lt_fail_alloc_at(0);
        if (rc == LT_OK) {
            lt_engine_close(e);
            break;
        }
        CHECK(rc == LT_E_NOMEM && !e, "allocation %d failed: code %d (%s)", (int)n, rc, lt_last_error());
        n_failed_opens++;
    }
    CHECK(n_failed_opens > 50 && n_failed_opens < 1999, "%d allocations in an open", n_failed_opens);
}

static void test_failing_allocations(void)
{
    lt_engine_opts o = options();
    sweep_failing_allocations(o);
    o.flags = LT_OPEN_MLOCK;
    o.load = LT_LOAD_READ;
    o.k_type = LT_KV_F32, o.v_type = LT_KV_Q8_0;
    sweep_failing_allocations(o);
    lt_engine *e = open_tiny();
    int32_t cached, seq = open_seq(e, 20, 0, &cached);
    const int64_t before = lt_alloc_count();
    for (int i = 0; i < 10; i++)
        expect_step(e, &(lt_row){.seq = seq, .advance = i ? 1 : 20}, 1, LT_OK, "step");
    CHECK(lt_alloc_count() == before, "steps allocated %d times", (int)(lt_alloc_count() - before));
    lt_engine_close(e);
}

static void test_cancelled_load(void)
{
    lt_engine *e = NULL;
    lt_engine_opts o = options();
    int32_t progress = -1;
    o.progress = &progress;
    CHECK(lt_engine_open(&e, tiny_model(NULL), &o) == LT_E_IO && !e, "a cancelled load went on");
    progress = 0;
    CHECK(lt_engine_open(&e, tiny_model(NULL), &o) == LT_OK && progress == 1000, "progress %d (%s)", progress, lt_last_error());
    lt_engine_close(e);
}

int main(void)
{
    test_hyperparameters();
    test_shapes();
    test_kv_types();
    test_wrong_calls();
    test_ways_of_loading();
    test_environment();
    test_full_pool();
    test_full_context();
    test_prefix_cache();
    test_adopt();
    test_drafts();
    test_wrong_drafts();
    test_given_drafts();
    test_poisoned_weights();
    test_file_that_shrinks();
    test_failing_allocations();
    test_cancelled_load();
    return check_report("engine");
}
