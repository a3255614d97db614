/* test_sampling_state.c - settings with lists and samplers with a state, through the engine: what a sequence copies, and that
 * one which is closed and opened again goes on with the same bits. */
#include "check.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "llamatw.h"
#include "tiny_model.h"

enum { N_PROMPT = 20, N_GENERATED = 30 };

static lt_engine *open_tiny(void)
{
    lt_engine *e = NULL;
    lt_engine_opts o;
    lt_engine_opts_init(&o);
    o.n_threads = 2;
    CHECK(lt_engine_open(&e, tiny_model(NULL), &o) == LT_OK, "%s", lt_last_error());
    return e;
}

static int32_t open_seq(lt_engine *e, const int32_t *history, int32_t n, const lt_sampling *s)
{
    int32_t seq = -1, cached;
    CHECK(lt_seq_open(e, history, n, 0, s, &seq, &cached) == LT_OK, "%s", lt_last_error());
    return seq;
}

static int32_t n_cached(lt_engine *e)
{
    lt_engine_stats stats;
    lt_engine_read_stats(e, &stats);
    return (int32_t)stats.tokens_cached;
}

/* Generates n tokens behind history[n_known]; their outs go to `out`. */
static int32_t generate(lt_engine *e, int32_t *history, int32_t n_known, const lt_sampling *s, lt_out *out, int32_t n)
{
    const int32_t before = n_cached(e), seq = open_seq(e, history, n_known, s);
    for (int32_t i = 0, advance = n_known - (n_cached(e) - before); i < n; i++, advance = 1) {
        lt_result r;
        CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = advance}, 1, &r) == LT_OK, "%s", lt_last_error());
        out[i] = r.out[0];
        history[n_known + i] = r.out[0].token;
    }
    return seq;
}

static lt_sampling with_last(int last)
{
    lt_sampling s;
    lt_sampling_init(&s);
    s.flags = LT_SAMPLE_IGNORE_EOS;
    s.seed = 7;
    s.temperature = 1.5f;
    s.min_p = 0;
    s.top_p = 1;
    s.top_k = 0;
    s.adaptive_target = 0.3f;
    s.mirostat_tau = 3;
    s.chain[s.n_chain++] = (uint8_t)last;
    return s;
}

static void test_going_on(int last)
{
    lt_engine *e = open_tiny();
    lt_sampling s = with_last(last);
    int32_t history[N_PROMPT + N_GENERATED];
    lt_out whole[N_GENERATED], rest[N_GENERATED];
    for (int32_t i = 0; i < N_PROMPT; i++)
        history[i] = 3 + i;
    CHECK(lt_seq_close(e, generate(e, history, N_PROMPT, &s, whole, N_GENERATED), 0) == LT_OK, "close");
    s.flags |= LT_SAMPLE_RESUME;
    for (int32_t cut = 1; cut < N_GENERATED; cut += 9) {
        memcpy(s.state, whole[cut - 1].state, sizeof s.state);
        CHECK(lt_seq_close(e, generate(e, history, N_PROMPT + cut, &s, rest, N_GENERATED - cut), cut % 2) == LT_OK, "close");
        for (int32_t i = cut; i < N_GENERATED; i++)
            CHECK(rest[i - cut].token == whole[i].token && !memcmp(rest[i - cut].state, whole[i].state, sizeof s.state),
                  "sampler %d, cut at %d: token %d is %d, not %d", last, cut, i, rest[i - cut].token, whole[i].token);
    }
    lt_engine_close(e);
}

static void test_no_guesses_with_a_state(void)
{
    lt_engine *e = open_tiny();
    const int32_t prompt[] = {5, 6, 7};
    lt_result r;
    for (int last = LT_SAMPLER_INFILL; last < LT_SAMPLER_COUNT; last++) {
        const lt_sampling s = with_last(last);
        const int32_t seq = open_seq(e, prompt, 3, &s);
        const int rc = lt_step(e, &(lt_row){.seq = seq, .advance = 3, .n_draft = 2}, 1, &r);
        CHECK(rc == (last == LT_SAMPLER_INFILL ? LT_OK : LT_E_ARG), "sampler %d: code %d (%s)", last, rc, lt_last_error());
        lt_seq_close(e, seq, 0);
    }
    lt_engine_close(e);
}

/* The caller's lists may go once lt_seq_open has returned; with no memory for a copy, nothing is opened. */
static void test_lists_are_copied(void)
{
    lt_engine *e = open_tiny();
    lt_sampling s;
    lt_sampling_init(&s);
    lt_bias bias[] = {{9, 100}, {10, -INFINITY}};
    int32_t prompt[] = {3, 4}, ends[] = {1}, seq, cached;
    s.bias = bias, s.n_bias = 2;
    s.breakers = prompt, s.breaker_ends = ends, s.n_breakers = 1;
    lt_fail_alloc_at(1);
    CHECK(lt_seq_open(e, prompt, 2, 0, &s, &seq, &cached) == LT_E_NOMEM, "%s", lt_last_error());
    lt_fail_alloc_at(0);
    seq = open_seq(e, prompt, 2, &s);
    memset(bias, 0xff, sizeof bias);
    lt_result r;
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 2}, 1, &r) == LT_OK && r.out[0].token == 9, "token %d", r.out[0].token);
    bias[0] = (lt_bias){TINY_VOCAB, 0};
    CHECK(lt_seq_open(e, prompt, 2, 0, &s, &seq, &cached) == LT_E_ARG, "an id beyond the vocabulary");
    lt_engine_close(e); /* with a sequence open */
}

/* Of what a shift drops, the prompt's ids no longer count as those that penalty_prompt stands for; what was generated does. */
static void test_prompt_that_shifts(void)
{
    lt_engine *e = open_tiny();
    const lt_bias bias = {9, 100};
    lt_sampling s;
    lt_sampling_init(&s);
    s.temperature = 0;
    s.bias = &bias, s.n_bias = 1;
    s.presence_penalty = 200;
    s.repeat_last_n = -1;
    s.n_prompt = 10;
    int32_t history[20] = {9, 3, 4, 5, 6, 7, 8, 10, 11, 12};
    lt_out out[5];
    const int32_t seq = generate(e, history, 10, &s, out, 5);
    CHECK(out[0].token == 9 && out[1].token != 9, "the prompt's 9 does not count, the one that was sampled does");
    CHECK(lt_seq_shift(e, seq, 2, 5) == LT_OK, "%s", lt_last_error());
    lt_result r;
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 1}, 1, &r) == LT_OK && r.out[0].token != 9, "9 counts still");
    CHECK(lt_seq_shift(e, seq, 2, 5) == LT_OK, "%s", lt_last_error());
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 1}, 1, &r) == LT_OK && r.out[0].token == 9, "it was dropped, not %d", r.out[0].token);
    lt_engine_close(e);
}

int main(void)
{
    test_going_on(LT_SAMPLER_MIROSTAT_1);
    test_going_on(LT_SAMPLER_MIROSTAT_2);
    test_going_on(LT_SAMPLER_ADAPTIVE_P);
    test_no_guesses_with_a_state();
    test_lists_are_copied();
    test_prompt_that_shifts();
    return check_report("test_sampling_state");
}
