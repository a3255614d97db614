/* test_sample.c - what the comparison with NumPy (test_sampler_vs_numpy.py) cannot see from outside: the random numbers'
 * published vectors, the exponentials, hostile input, and that nothing is remembered between calls. */
#include "check.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "sample/internal.h"

enum { N_VOCAB = 1003 };

/* The usual chain with everything off. */
static const lt_sampling plain = {.struct_size = sizeof(lt_sampling),
                                  .temperature = 1,
                                  .dynatemp_exponent = 1,
                                  .top_p = 1,
                                  .tfs_z = 1,
                                  .typical_p = 1,
                                  .xtc_threshold = 0.1f,
                                  .repeat_penalty = 1,
                                  .dry_base = 1.75f,
                                  .adaptive_target = -1,
                                  .n_chain = 10,
                                  .chain = {LT_SAMPLER_PENALTIES, LT_SAMPLER_DRY, LT_SAMPLER_TOP_N_SIGMA, LT_SAMPLER_TOP_K,
                                            LT_SAMPLER_TFS_Z, LT_SAMPLER_TYPICAL_P, LT_SAMPLER_TOP_P, LT_SAMPLER_MIN_P, LT_SAMPLER_XTC,
                                            LT_SAMPLER_TEMPERATURE}};
static const float no_state[2] = {0, 1};

static uint64_t rng_state = 88172645463325252u;

static float random_logit(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (float)(rng_state >> 40) * 0x1p-20f - 8;
}

static void fill(float *x, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        x[i] = random_logit();
}

static const char *piece(const void *vocab, int32_t id, uint32_t *n_bytes)
{
    *n_bytes = 1;
    return id % 10 ? "a" : "\n";
}

static int create(lt_sampler **s, int32_t n_vocab, const int32_t *eog, int32_t n_eog)
{
    const lt_lexicon lexicon = {.n_vocab = n_vocab, .eog = eog, .n_eog = n_eog, .eot = n_eog ? eog[0] : -1, .piece = piece};
    return lt_sampler_create(s, &lexicon, 300);
}

static lt_sampler *new_sampler(int32_t n_vocab)
{
    lt_sampler *s = NULL;
    CHECK(create(&s, n_vocab, NULL, 0) == LT_OK, "%s", lt_last_error());
    return s;
}

static lt_sampled sample_after(lt_sampler *s, const lt_sampling *p, const float *logits, const int32_t *history, int32_t n)
{
    return lt_sample(s, p, logits, history, n, NULL, no_state);
}

static lt_sampled sample(lt_sampler *s, const lt_sampling *p, const float *logits)
{
    return sample_after(s, p, logits, NULL, 0);
}

/* Random123's known answers for philox4x32-10: counter, key, output. */
static void test_philox(void)
{
    static const uint32_t vectors[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        lt_philox(vectors[i], vectors[i] + 4, out);
        CHECK(!memcmp(out, vectors[i] + 6, sizeof out), "vector %d: %08x %08x %08x %08x", i, out[0], out[1], out[2], out[3]);
    }
    double sum = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double u = lt_uniform(UINT64_MAX - 3, i << 20, LT_STREAM_DRAW);
        CHECK(u >= 0 && u < 1, "%g", u);
        sum += u;
    }
    CHECK(fabs(sum / 100000 - 0.5) < 0.004, "mean %g", sum / 100000);
}

static void test_exp(void)
{
    double worst = 0;
    for (double x = 0; x > -690; x -= 0.00731)
        worst = fmax(worst, fabs(lt_exp(x) / exp(x) - 1));
    CHECK(worst < 5e-16, "relative error %g", worst);
    CHECK(lt_exp(0) == 1 && lt_exp(-INFINITY) == 0 && lt_exp(-1e300) == 0, "ends");
}

static void test_exp_sum(void)
{
    static float logits[200000];
    static const int32_t sizes[] = {1, 15, 63, 64, 65, 1003, 1024, 1025, 128256, 200000};
    fill(logits, 200000);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (float scale = 0.25f; scale < 40; scale *= 4) {
            lt_sampler *s = new_sampler(sizes[i]);
            double sum = 0;
            CHECK(lt_scan(s, logits), "finite");
            for (int32_t j = 0; j < sizes[i]; j++)
                sum += exp((double)scale * ((double)logits[j] - s->max));
            double error = lt_exp_sum(s, s->max, scale) / sum - 1;
            CHECK(fabs(error) < 1e-6, "%d values, scale %g: relative error %g", sizes[i], (double)scale, error);
            lt_sampler_destroy(s);
        }
}

/* Passes of every width give the same bits. */
static void test_widths(void)
{
    static float logits[20000], copies[2][20000], maxima[2][400];
    setenv("LT_CPU_MASK", "ref", 1);
    const lt_passes *p[2] = {lt_choose_passes(), NULL};
    unsetenv("LT_CPU_MASK");
    p[1] = lt_choose_passes();
    for (int round = 0; round < 50; round++) {
        const int32_t n_blocks = 1 + round * 6, n = n_blocks * LT_BLOCK;
        fill(logits, n);
        logits[round] = round % 3 ? -INFINITY : 9;
        double sums[2][2];
        for (int i = 0; i < 2; i++) {
            CHECK(p[i]->scan(copies[i], maxima[i], logits, n_blocks), "finite");
            sums[i][0] = p[i]->exp_sum(logits, n, 9, 0.1f * (float)round);
            sums[i][1] = p[i]->exp_moment(logits, n, 9, 0.1f * (float)round);
        }
        CHECK(!memcmp(copies[0], logits, (size_t)n * sizeof *logits) && !memcmp(copies[1], logits, (size_t)n * sizeof *logits), "copies");
        CHECK(!memcmp(maxima[0], maxima[1], (size_t)n_blocks * sizeof(float)) && !memcmp(sums[0], sums[1], sizeof *sums), "round %d",
              round);
        logits[n - 1 - round] = round % 2 ? NAN : INFINITY;
        CHECK(!p[0]->scan(copies[0], maxima[0], logits, n_blocks) && !p[1]->scan(copies[1], maxima[1], logits, n_blocks), "not finite");
    }
}

static void test_hostile_logits(void)
{
    float logits[N_VOCAB];
    lt_candidate out[1];
    lt_sampler *s = new_sampler(N_VOCAB);
    static const float bad[] = {NAN, -NAN, INFINITY};
    static const int32_t places[] = {0, 63, 64, 500, 960, N_VOCAB - 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t j = 0; j < sizeof places / sizeof *places; j++) {
            fill(logits, N_VOCAB);
            logits[places[j]] = bad[i];
            CHECK(sample(s, &plain, logits).token == -1, "%g at %d", (double)bad[i], places[j]);
            CHECK(lt_sample_candidates(s, out, 1) == 0, "no candidates");
        }
    for (int32_t i = 0; i < N_VOCAB; i++)
        logits[i] = -INFINITY;
    CHECK(sample(s, &plain, logits).token == -1, "nothing allowed");
    logits[1002] = -FLT_MAX;
    lt_sampled one = sample(s, &plain, logits);
    CHECK(one.token == 1002 && one.logprob == 0, "%d %g", one.token, (double)one.logprob);
    logits[5] = FLT_MAX;
    CHECK(sample(s, &plain, logits).token == 5, "the whole range of float");
    lt_sampling hot = plain;
    hot.temperature = FLT_MAX;
    CHECK(sample(s, &hot, logits).token >= 0, "the highest temperature");
    hot.temperature = FLT_TRUE_MIN;
    CHECK(sample(s, &hot, logits).token == 5, "the lowest temperature");
    lt_sampler_destroy(s);
}

static void test_extreme_penalties(void)
{
    float logits[N_VOCAB];
    int32_t history[] = {3, 3, 7, -5, N_VOCAB, INT32_MAX};
    lt_sampler *s = new_sampler(N_VOCAB);
    static const float values[] = {FLT_MAX, -FLT_MAX, FLT_TRUE_MIN, 2};
    fill(logits, N_VOCAB);
    for (int i = 0; i < 64; i++) {
        lt_sampling p = plain;
        p.repeat_last_n = -1;
        p.repeat_penalty = fabsf(values[i % 4]);
        p.presence_penalty = values[i / 4 % 4];
        p.frequency_penalty = values[i / 16];
        lt_sampled r = sample_after(s, &p, logits, history, 6);
        CHECK(r.token >= 0 && isfinite(r.logprob), "%d", r.token);
        for (int32_t id = 0; id < N_VOCAB; id++)
            CHECK(isfinite(s->work[id]) && s->counts[id] == 0, "id %d: %g", id, (double)s->work[id]);
    }
    lt_sampler_destroy(s);
}

static void test_mask_and_eog(void)
{
    float logits[N_VOCAB];
    uint32_t mask[(N_VOCAB + 31) / 32];
    lt_sampler *s = new_sampler(N_VOCAB);
    lt_sampling p = plain;
    p.temperature = 0;
    fill(logits, N_VOCAB);
    memset(mask, 0, sizeof mask);
    CHECK(lt_sample(s, &p, logits, NULL, 0, mask, no_state).token == -1, "all masked");
    for (int32_t id = 0; id < N_VOCAB; id++) {
        mask[id / 32] = 1u << id % 32;
        CHECK(lt_sample(s, &p, logits, NULL, 0, mask, no_state).token == id, "only %d is allowed", id);
        mask[id / 32] = 0;
    }
    mask[N_VOCAB / 32] = UINT32_MAX << N_VOCAB % 32; /* bits past the vocabulary allow nothing */
    CHECK(lt_sample(s, &p, logits, NULL, 0, mask, no_state).token == -1, "only padding is allowed");
    int32_t best = sample(s, &p, logits).token, eog[] = {best, -1, N_VOCAB};
    lt_sampler_destroy(s);
    CHECK(create(&s, N_VOCAB, eog, 3) == LT_OK, "%s", lt_last_error());
    CHECK(sample(s, &p, logits).token == best, "the best ends generation");
    p.flags = LT_SAMPLE_IGNORE_EOS;
    int32_t second = sample(s, &p, logits).token;
    CHECK(second >= 0 && second != best, "%d", second);
    const lt_bias more = {best, 1};
    p.bias = &more;
    p.n_bias = 1;
    CHECK(sample(s, &p, logits).token == best, "a bias counts instead of ignore_eos");
    lt_sampler_destroy(s);
}

static void test_ties(void)
{
    float logits[N_VOCAB];
    lt_candidate out[N_VOCAB];
    lt_sampler *s = new_sampler(N_VOCAB);
    lt_sampling p = plain;
    for (int32_t i = 0; i < N_VOCAB; i++)
        logits[i] = i % 2 ? 0.0f : -0.0f;
    p.top_k = 70;
    sample(s, &p, logits);
    CHECK(lt_sample_candidates(s, out, N_VOCAB) == 70, "top-k cuts through ties");
    for (int32_t i = 0; i < 70; i++)
        CHECK(out[i].token == i, "place %d: %d", i, out[i].token);
    p.temperature = 0;
    CHECK(sample(s, &p, logits).token == 0, "greedy takes the lowest id");
    CHECK(lt_sample_candidates(s, out, N_VOCAB) == 1 && out[0].token == 0 && out[0].prob == 1, "greedy has one survivor");
    lt_sampler_destroy(s);
}

/* Equal logits make every sum exact: the one that reaches p stays, what equals p times the best stays. */
static void test_boundaries(void)
{
    float logits[8] = {0};
    lt_candidate out[8];
    lt_sampler *s = new_sampler(8);
    for (int32_t top_k = 0; top_k <= 8; top_k += 4) {
        lt_sampling p = plain;
        int32_t n = top_k ? top_k : 8;
        p.top_k = top_k;
        p.top_p = 0.5f;
        sample(s, &p, logits);
        CHECK(lt_sample_candidates(s, out, 8) == n / 2 && out[0].prob == 2.0f / (float)n, "top_p at its boundary, top_k %d", top_k);
        p.top_p = 0;
        sample(s, &p, logits);
        CHECK(lt_sample_candidates(s, out, 8) == 1, "top_p 0 keeps the best");
        p.top_p = p.min_p = 1;
        sample(s, &p, logits);
        CHECK(lt_sample_candidates(s, out, 8) == n, "min_p at its boundary, top_k %d", top_k);
        p.min_p = 2;
        sample(s, &p, logits);
        CHECK(lt_sample_candidates(s, out, 8) == 1 && out[0].token == 0, "min_p 2 keeps the best");
    }
    lt_sampler_destroy(s);
}

/* The same call gives the same answer whatever was sampled in between, and on a fresh sampler. */
static void test_nothing_remembered(void)
{
    static float logits[2][40000];
    int32_t history[300];
    static const uint8_t last[] = {LT_SAMPLER_INFILL, LT_SAMPLER_MIROSTAT_1, LT_SAMPLER_MIROSTAT_2, LT_SAMPLER_ADAPTIVE_P};
    lt_sampler *used = new_sampler(40000);
    for (int32_t i = 0; i < 300; i++)
        history[i] = i * i % 40000;
    for (uint32_t i = 0; i < 60; i++) {
        lt_sampling p = plain;
        fill(logits[i % 2], 40000);
        p.seed = i;
        p.temperature = 0.1f * (float)(i % 20);
        p.top_k = i % 3 ? 0 : 300;
        p.top_p = i % 4 ? 0.9f : 1;
        p.min_p = i % 5 ? 0 : 0.02f;
        p.repeat_penalty = i % 2 ? 1.3f : 1;
        p.repeat_last_n = 64;
        p.dry_multiplier = i % 7 ? 0 : 1;
        p.dry_penalty_last_n = -1;
        p.typical_p = i % 6 ? 1 : 0.9f;
        p.xtc_probability = i % 8 ? 0 : 0.5f;
        p.tfs_z = i % 9 ? 1 : 0.9f;
        p.top_n_sigma = i % 10 ? 0 : 1.5f;
        p.dynatemp_range = i % 11 ? 0 : 1;
        p.mirostat_tau = 5;
        p.mirostat_eta = 0.1f;
        p.chain[p.n_chain++] = last[i % 4];
        const float state[2] = {4, 8};
        lt_sampler *fresh = new_sampler(40000);
        lt_sampled a = lt_sample(used, &p, logits[i % 2], history, 300, NULL, state);
        lt_sampled b = lt_sample(fresh, &p, logits[i % 2], history, 300, NULL, state);
        CHECK(!memcmp(&a, &b, sizeof a), "round %u: %d and %d", i, a.token, b.token);
        lt_sampler_destroy(fresh);
    }
    lt_sampler_destroy(used);
}

static void test_log(void)
{
    double worst = 0;
    for (double x = 1e-300; x < 1e300; x *= 1.0371) {
        const double y = log(x), error = fabs(lt_log(x) - y);
        worst = fmax(worst, fabs(y) > 1 ? error / fabs(y) : error);
    }
    CHECK(worst < 1e-15, "error %g", worst);
    CHECK(lt_log(1) == 0 && lt_exp(1e9) < INFINITY, "ends");
}

/* Extreme settings, each alone and all together, over logits with holes: always a token that is allowed, no NaN behind. */
static void test_extreme_settings(void)
{
    static float logits[N_VOCAB];
    static const float values[] = {0, FLT_TRUE_MIN, 0.5f, 1, FLT_MAX};
    int32_t history[300];
    lt_sampler *s = new_sampler(N_VOCAB);
    fill(logits, N_VOCAB);
    for (int32_t i = 0; i < N_VOCAB; i++)
        logits[i] = i % 3 ? logits[i] : -INFINITY;
    for (int32_t i = 0; i < 300; i++)
        history[i] = i % 7;
    for (uint32_t i = 0; i < 4000; i++) {
        lt_sampling p = plain;
        float *floats[] = {&p.temperature, &p.dynatemp_range, &p.dynatemp_exponent, &p.top_p,           &p.min_p,
                           &p.tfs_z,       &p.typical_p,      &p.top_n_sigma,       &p.xtc_probability, &p.xtc_threshold,
                           &p.dry_base,    &p.dry_multiplier, &p.mirostat_tau,      &p.mirostat_eta,    &p.presence_penalty};
        for (size_t j = 0; j < sizeof floats / sizeof *floats; j++)
            if (i % 2 || j == i / 2 % 15)
                *floats[j] = values[(rng_state >> (2 * j)) % 5];
        (void)random_logit();
        p.dry_penalty_last_n = -1;
        p.min_keep = (int32_t)(i % 5);
        p.seed = i;
        p.chain[p.n_chain++] = (uint8_t)(LT_SAMPLER_INFILL + (int)(i / 2 % 4));
        p.adaptive_target = 0.5f;
        float state[2];
        lt_sampling_start(&p, state);
        CHECK(lt_sampling_check(&p, N_VOCAB) == LT_OK, "%s", lt_last_error());
        const lt_sampled r = lt_sample(s, &p, logits, history, 300, NULL, state);
        CHECK(r.token >= 0 && r.token % 3 && isfinite(r.logprob), "round %u: token %d", i, r.token);
        CHECK(isfinite(r.state[0]) && isfinite(r.state[1]), "round %u: state %g %g", i, (double)r.state[0], (double)r.state[1]);
        for (int32_t id = 0; id < N_VOCAB; id++)
            CHECK(s->counts[id] == 0, "round %u: count of %d", i, id);
    }
    lt_sampler_destroy(s);
}

static void test_bias_forbids_everything(void)
{
    float logits[3] = {1, 2, 3};
    const lt_bias bias[] = {{0, -INFINITY}, {1, -INFINITY}, {2, -INFINITY}};
    lt_sampling p = plain;
    lt_sampler *s = new_sampler(3);
    p.bias = bias;
    p.n_bias = 2;
    CHECK(sample(s, &p, logits).token == 2, "one is left");
    p.n_bias = 3;
    CHECK(sample(s, &p, logits).token == -1, "none is left");
    lt_sampler_destroy(s);
}

/* mu after two tokens is what it is when the second is sampled in another sequence that was given the first one's state. */
static void test_state_travels(void)
{
    float logits[2][N_VOCAB], state[2];
    lt_sampling p = plain;
    lt_sampler *s = new_sampler(N_VOCAB);
    fill(logits[0], N_VOCAB);
    fill(logits[1], N_VOCAB);
    p.mirostat_tau = 3;
    p.mirostat_eta = 0.5f;
    p.chain[p.n_chain++] = LT_SAMPLER_MIROSTAT_2;
    lt_sampling_start(&p, state);
    CHECK(state[0] == 6, "mu begins at twice tau, not %g", (double)state[0]);
    CHECK(!lt_sampling_is_stateless(&p) && lt_sampling_is_stateless(&plain), "only some have a state");
    const lt_sampled first = lt_sample(s, &p, logits[0], NULL, 0, NULL, state);
    const lt_sampled second = lt_sample(s, &p, logits[1], &first.token, 1, NULL, first.state);
    p.flags |= LT_SAMPLE_RESUME;
    memcpy(p.state, first.state, sizeof p.state);
    lt_sampling_start(&p, state);
    const lt_sampled again = lt_sample(s, &p, logits[1], &first.token, 1, NULL, state);
    CHECK(!memcmp(&second, &again, sizeof again) && second.state[0] != first.state[0], "mu %g", (double)again.state[0]);
    lt_sampler_destroy(s);
}

static void test_create(void)
{
    lt_sampler *s = NULL;
    CHECK(create(&s, 0, NULL, 0) == LT_E_ARG && create(&s, INT32_MAX, NULL, 0) == LT_E_ARG, "range");
    for (int64_t i = 1; i <= 8; i++) {
        lt_fail_alloc_at(i);
        CHECK(create(&s, 100, NULL, 0) == LT_E_NOMEM && !s, "allocation %d", (int)i);
    }
    lt_fail_alloc_at(0);
    int64_t before = lt_alloc_count();
    s = new_sampler(100);
    CHECK(lt_alloc_count() == before + 8, "%d allocations", (int)(lt_alloc_count() - before));
    lt_sampler_destroy(s);
    lt_sampler_destroy(NULL);
}

int main(void)
{
    test_philox();
    test_exp();
    test_exp_sum();
    test_widths();
    test_hostile_logits();
    test_extreme_penalties();
    test_mask_and_eog();
    test_ties();
    test_boundaries();
    test_nothing_remembered();
    test_log();
    test_extreme_settings();
    test_bias_forbids_everything();
    test_state_travels();
    test_create();
    return check_report("test_sample");
}
