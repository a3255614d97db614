/* test_probs.c - what a token was chosen among, against plain sums and a plain search; and that asking changes nothing. */
#include "check.h"

#include <string.h>

#include "sample/internal.h"

enum { N_VOCAB = 1003, N_WORDS = (N_VOCAB + 31) / 32 };

static const lt_sampling plain = {.struct_size = sizeof(lt_sampling),
                                  .temperature = 1,
                                  .dynatemp_exponent = 1,
                                  .top_p = 1,
                                  .tfs_z = 1,
                                  .typical_p = 1,
                                  .repeat_penalty = 1,
                                  .dry_base = 1.75f,
                                  .adaptive_target = -1,
                                  .n_probs = 7,
                                  .n_chain = 4,
                                  .chain = {LT_SAMPLER_PENALTIES, LT_SAMPLER_TOP_K, LT_SAMPLER_MIN_P, LT_SAMPLER_TEMPERATURE}};
static const float no_state[2] = {0, 1};
static float logits[N_VOCAB];
static lt_probs probs;

static lt_sampler *new_sampler(int32_t n_vocab)
{
    lt_sampler *s = NULL;
    CHECK(lt_sampler_create(&s, &(lt_lexicon){.n_vocab = n_vocab, .eot = -1}, 300) == LT_OK, "create: %s", lt_last_error());
    return s;
}

static lt_sampled sample(lt_sampler *s, const lt_sampling *p, const uint32_t *mask)
{
    const int32_t history[] = {3, 4, 3};
    const lt_sampled sampled = lt_sample(s, p, logits, history, 3, mask, no_state);
    lt_sample_probs(s, p, &probs);
    return sampled;
}

static void fill(uint32_t seed)
{
    for (int32_t i = 0; i < N_VOCAB; i++) {
        seed = seed * 1664525u + 1013904223u;
        logits[i] = (float)(seed >> 20) * 0x1p-8f - 8; /* many are equal */
    }
}

/* The i-th best of x, the lower id first among equals; allowed: NULL or which of them take part. */
static int32_t best(const float *x, const uint32_t *allowed, int32_t i)
{
    for (int32_t id = 0; id < N_VOCAB; id++) {
        int32_t n_better = 0;
        if (allowed && !(allowed[id / 32] >> id % 32 & 1))
            continue;
        for (int32_t j = 0; j < N_VOCAB; j++)
            n_better += (!allowed || allowed[j / 32] >> j % 32 & 1) && (x[j] > x[id] || (x[j] == x[id] && j < id));
        if (n_better == i)
            return id;
    }
    return -1;
}

static double total(const float *x, const uint32_t *allowed, double temperature)
{
    double sum = 0;
    for (int32_t j = 0; j < N_VOCAB; j++)
        sum += !allowed || allowed[j / 32] >> j % 32 & 1 ? exp((double)x[j] / temperature) : 0;
    return sum;
}

static void test_values(void)
{
    uint32_t mask[N_WORDS];
    lt_sampler *s = new_sampler(N_VOCAB);
    lt_sampling p = plain;
    p.temperature = 0.5f;
    for (uint32_t round = 0; round < 20; round++) {
        fill(round);
        for (int32_t i = 0; i < N_WORDS; i++)
            mask[i] = round % 2 ? 0x5a5a5a5au << round % 3 : 0xffffffffu;
        const lt_sampled sampled = sample(s, &p, mask);
        CHECK(probs.n_top == p.n_probs && probs.n_chances == p.n_probs, "%d %d", probs.n_top, probs.n_chances);
        const double raw = log(total(logits, NULL, 1)), drawn = total(logits, mask, 0.5);
        for (int32_t i = 0; i < p.n_probs; i++) {
            const lt_choice top = probs.top[i], chance = probs.chances[i];
            CHECK(top.token == best(logits, NULL, i), "top %d", i);
            CHECK(fabs(top.value - (logits[top.token] - raw)) < 1e-5, "top %d: %g", i, (double)top.value);
            CHECK(chance.token == best(logits, mask, i), "chance %d", i);
            CHECK(fabs(chance.value - exp(logits[chance.token] * 2.0) / drawn) < 1e-5, "chance %d: %g", i, (double)chance.value);
            CHECK(top.token != sampled.token || top.value == sampled.logprob, "the token's own log-probability");
            CHECK(chance.token != sampled.token || chance.value == probs.prob, "the token's own chance");
        }
    }
    lt_sampler_destroy(s);
}

static void test_asking_changes_nothing(void)
{
    lt_sampler *s = new_sampler(N_VOCAB);
    for (uint32_t round = 0; round < 100; round++) {
        lt_sampling p = plain;
        fill(round);
        p.seed = round;
        p.temperature = round % 5 ? 1.3f : 0;
        p.top_k = round % 2 ? 40 : 0;
        p.n_probs = 0;
        const lt_sampled without = sample(s, &p, NULL);
        const float prob = probs.prob;
        CHECK(!probs.n_top && !probs.n_chances && prob > 0, "nothing was asked for");
        p.flags = LT_SAMPLE_NO_LOGPROB;
        const lt_sampled silent = sample(s, &p, NULL);
        CHECK(silent.token == without.token && silent.logprob == 0 && probs.prob == prob, "round %u", round);
        p.n_probs = LT_MAX_PROBS;
        const lt_sampled with = sample(s, &p, NULL);
        CHECK(with.token == without.token && with.logprob == without.logprob && probs.prob == prob, "round %u", round);
        CHECK(probs.n_top == LT_MAX_PROBS, "%d", probs.n_top);
    }
    lt_sampler_destroy(s);
}

static void test_survivors(void)
{
    lt_sampler *s = new_sampler(N_VOCAB);
    lt_sampling p = plain;
    fill(1);
    p.top_k = 3;
    sample(s, &p, NULL);
    double sum = 0;
    for (int32_t i = 0; i < probs.n_chances; i++)
        sum += probs.chances[i].value;
    CHECK(probs.n_chances == 3 && fabs(sum - 1) < 1e-6 && probs.n_top == 7, "%d survivors, %g", probs.n_chances, sum);
    p.top_k = 0;
    p.temperature = 1e-3f; /* all others have a chance of 0 */
    logits[500] = 100;
    sample(s, &p, NULL);
    CHECK(probs.n_chances == 1 && probs.chances[0].value == 1 && probs.n_top == 7, "%d", probs.n_chances);
    lt_sampler_destroy(s);
}

static void test_greedy(void)
{
    lt_sampler *s = new_sampler(N_VOCAB);
    lt_sampling p = plain;
    fill(2);
    p.temperature = 0;
    p.top_k = 2; /* of no matter: the best stays the best */
    const lt_sampled sampled = sample(s, &p, NULL);
    const double sum = total(logits, NULL, 1);
    CHECK(probs.prob == 1 && probs.n_chances == 7 && probs.chances[0].token == sampled.token, "greedy");
    for (int32_t i = 0; i < 7; i++)
        CHECK(fabs(probs.chances[i].value - exp(logits[probs.chances[i].token]) / sum) < 1e-6, "chance %d", i);
    p.flags = LT_SAMPLE_POST_PROBS;
    CHECK(sample(s, &p, NULL).token == sampled.token && probs.n_chances == 1 && probs.chances[0].value == 1, "after all samplers");
    lt_sampler_destroy(s);
}

/* Its chances do not fall along the ranking. */
static void test_adaptive(void)
{
    lt_sampler *s = new_sampler(8);
    lt_candidate all[8];
    lt_sampling p = plain;
    for (int32_t i = 0; i < 8; i++)
        logits[i] = -(float)i;
    p.chain[0] = LT_SAMPLER_ADAPTIVE_P;
    p.n_chain = 1;
    p.adaptive_target = 0.1f;
    p.n_probs = 2;
    sample(s, &p, NULL);
    CHECK(lt_sample_candidates(s, all, 8) == 8, "all survive");
    CHECK(probs.n_chances == 2 && probs.chances[0].token == 1 && probs.chances[0].value == all[1].prob, "%d", probs.chances[0].token);
    for (int32_t i = 0; i < 8; i++)
        CHECK(all[i].prob <= probs.chances[1].value || i == 1, "id %d is likelier", i);
    lt_sampler_destroy(s);
}

static void test_few_and_none(void)
{
    lt_sampler *s = new_sampler(8);
    lt_sampling p = plain;
    for (int32_t i = 0; i < 8; i++)
        logits[i] = i < 3 ? (float)i : -INFINITY;
    p.n_probs = LT_MAX_PROBS;
    sample(s, &p, NULL);
    CHECK(probs.n_top == 3 && probs.n_chances == 3 && probs.top[0].token == 2, "%d %d", probs.n_top, probs.n_chances);
    CHECK(sample(s, &p, &(uint32_t){0xf8}).token == -1, "nothing is allowed");
    CHECK(!probs.n_top && !probs.n_chances && probs.prob == 0, "nothing is left");
    logits[1] = NAN;
    CHECK(sample(s, &p, NULL).token == -1 && !probs.n_top && !probs.n_chances, "NaN");
    p.n_probs = LT_MAX_PROBS + 1;
    CHECK(lt_sampling_check(&p, 8) == LT_E_ARG && strstr(lt_last_error(), "n_probs"), "%s", lt_last_error());
    lt_sampler_destroy(s);
}

/* Of a token that is given: also of one that the model rules out; and where there are fewer alternatives than are asked for. */
static void test_scores(void)
{
    lt_sampler *s = new_sampler(5);
    lt_choice out[8] = {{2, 7}};
    const float few[5] = {1, -INFINITY, 3, 0, -INFINITY}, total = logf(expf(1) + expf(3) + 1);
    CHECK(lt_score(s, &plain, few, out) && out[0].token == 2 && fabsf(out[0].value - (3 - total)) < 1e-6f, "%g", (double)out[0].value);
    for (int32_t i = 0; i < 7; i++) {
        const int32_t want = i < 3 ? (int32_t[]){2, 0, 3}[i] : -1;
        const float value = want < 0 ? 0 : few[want] - total;
        CHECK(out[1 + i].token == want && fabsf(out[1 + i].value - value) < 1e-6f, "%d. best: %d, %g", i, out[1 + i].token,
              (double)out[1 + i].value);
    }
    out[0].token = 1;
    CHECK(lt_score(s, &plain, few, out) && out[0].token == 1 && isfinite(out[0].value) && out[0].value < -1e38f, "%g",
          (double)out[0].value);
    const float bad[][5] = {{1, NAN, 3, 0, 0}, {1, 2, INFINITY, 0, 0}, {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY}};
    for (int32_t i = 0; i < 3; i++) {
        out[0].token = 2;
        CHECK(!lt_score(s, &plain, bad[i], out) && out[0].token == -1 && out[7].token == -1, "bad logits %d: %d", i, out[0].token);
    }
    lt_sampler_destroy(s);
}

int main(void)
{
    test_values();
    test_asking_changes_nothing();
    test_survivors();
    test_greedy();
    test_adaptive();
    test_few_and_none();
    test_scores();
    return check_report("test_probs");
}
