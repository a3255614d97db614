/* test_scores.c - what the model thinks of a prompt's own tokens: against softmax of the raw logits, however the prompt is cut. */
#include <math.h>
#include <stdbool.h>

#include "check.h"
#include "core/memory.h"
#include "llamatw.h"
#include "tiny_model.h"

enum { N = 70, N_PROBS = 3, SIZE = 1 + N_PROBS };

static lt_choice scores[N - 1][SIZE];

static lt_engine *open_tiny(const tiny_change *change)
{
    lt_engine *e = NULL;
    lt_engine_opts o;
    lt_engine_opts_init(&o);
    o.n_ctx = 256, o.n_seqs = 2, o.n_batch = 128, o.n_threads = 2, o.n_threads_batch = 2;
    CHECK(lt_engine_open(&e, tiny_model(change), &o) == LT_OK, "%s", lt_last_error());
    return e;
}

static int32_t token_at(int32_t i)
{
    return 3 + i * i % 250;
}

static int32_t open_seq(lt_engine *e, uint32_t flags, int32_t *n_cached)
{
    int32_t prompt[N], seq = -1;
    lt_sampling s;
    lt_sampling_init(&s);
    s.flags = flags;
    s.n_probs = N_PROBS;
    for (int32_t i = 0; i < N; i++)
        prompt[i] = token_at(i);
    CHECK(lt_seq_open(e, prompt, N, 0, &s, &seq, n_cached) == LT_OK, "%s", lt_last_error());
    return seq;
}

/* Reads the prompt in chunks beside a neighbour that asks for nothing, into scores. */
static void read_prompt(lt_engine *e, int32_t chunk, float *logits)
{
    int32_t cached, n_told = 0;
    const int32_t neighbour = open_seq(e, LT_SAMPLE_NO_CACHE, &cached), seq = open_seq(e, LT_SAMPLE_SCORE | LT_SAMPLE_NO_CACHE, &cached);
    lt_result r;
    for (int32_t at = 0; at < N; at += chunk) {
        const int32_t advance = chunk < N - at ? chunk : N - at;
        const lt_row rows[] = {{.seq = neighbour, .advance = 1},
                               {.seq = seq, .advance = advance, .logits = logits ? logits + at * TINY_VOCAB : NULL}};
        CHECK(lt_step(e, rows, 2, &r) == LT_OK && r.n_out == 2, "%s", lt_last_error());
        CHECK(r.out[0].n_scores == 0 && !r.out[0].scores, "%d scores for who asks for none", r.out[0].n_scores);
        const int32_t n = r.out[1].n_scores / SIZE;
        CHECK(n == (at + advance < N ? advance : advance - 1) && r.out[1].n_scores == n * SIZE, "%d scores", r.out[1].n_scores);
        if (n)
            memcpy(scores[n_told], r.out[1].scores, (size_t)n * sizeof *scores);
        n_told += n;
    }
    CHECK(n_told == N - 1 && r.out[1].flags & LT_OUT_TOKEN, "%d of %d told", n_told, N - 1);
    CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 1}, 1, &r) == LT_OK && r.out->n_scores == 0, "scores of what is generated");
    lt_seq_close(e, seq, 0);
    lt_seq_close(e, neighbour, 0);
}

static void check_score(const lt_choice *score, int32_t token, const float *logits)
{
    double total = 0;
    for (int32_t id = 0; id < TINY_VOCAB; id++)
        total += exp(logits[id]);
    CHECK(score->token == token && fabs(score->value - (logits[token] - log(total))) < 3e-6, "token %d, %g", score->token,
          (double)score->value);
    for (int32_t i = 1; i < SIZE; i++) {
        const int32_t id = score[i].token;
        int32_t n_better = 0;
        CHECK(id >= 0 && fabs(score[i].value - (logits[id] - log(total))) < 3e-6, "%d. best: %d, %g", i, id, (double)score[i].value);
        for (int32_t other = 0; other < TINY_VOCAB; other++)
            n_better += logits[other] > logits[id] || (logits[other] == logits[id] && other < id);
        CHECK(n_better == i - 1, "%d are better than the %d. best", n_better, i);
    }
}

static void test_against_softmax(void)
{
    static float logits[N * TINY_VOCAB];
    static lt_choice whole[N - 1][SIZE];
    lt_engine *e = open_tiny(NULL);
    read_prompt(e, N, logits);
    for (int32_t i = 0; i < N - 1; i++)
        check_score(scores[i], token_at(i + 1), logits + i * TINY_VOCAB);
    memcpy(whole, scores, sizeof whole);
    const int64_t before = lt_alloc_count();
    for (int32_t chunk = 1; chunk < N; chunk += 13) {
        memset(scores, 0, sizeof scores);
        read_prompt(e, chunk, NULL);
        CHECK(!memcmp(scores, whole, sizeof whole), "chunks of %d give other bits", chunk);
    }
    CHECK(lt_alloc_count() == before, "scores allocated %d times", (int)(lt_alloc_count() - before));
    lt_engine_close(e);
}

/* A row that samples nothing yet, but has no finite logits to score with. */
static void test_poisoned_weights(void)
{
    lt_engine *e = open_tiny(&(tiny_change){.key = "blk.1.ffn_down.weight", .scale = 0x7e00}); /* NaN */
    lt_result r;
    int32_t cached, seq = open_seq(e, LT_SAMPLE_SCORE, &cached);
    for (int32_t advance = 66; advance <= N; advance += N - 66) {
        CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = advance}, 1, &r) == LT_OK, "%s", lt_last_error());
        CHECK(r.n_out == 1 && r.out->flags == LT_OUT_NAN && r.out->token == -1, "flags %d token %d", r.out->flags, r.out->token);
        CHECK(lt_step(e, &(lt_row){.seq = seq, .advance = 1}, 1, &r) == LT_E_ARG, "stepping a poisoned sequence");
        lt_seq_close(e, seq, 1);
        seq = open_seq(e, LT_SAMPLE_SCORE, &cached);
        CHECK(cached == 0, "%d tokens of a poisoned sequence stayed in the cache", cached);
    }
    lt_engine_close(e);
}

int main(void)
{
    test_against_softmax();
    test_poisoned_weights();
    return check_report("test_scores");
}
