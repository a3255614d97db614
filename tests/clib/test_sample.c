/* test_sample.c - what the comparison with NumPy (test_sampler_vs_numpy.py) cannot see from outside: the random numbers'
 * published vectors, the exponentials, hostile input, and that nothing is remembered between calls. */
#include "check.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "sample/internal.h"

enum { N_VOCAB = 1003 };

static const lt_sampling plain = {.struct_size = sizeof(lt_sampling), .temperature = 1, .top_p = 1, .repeat_penalty = 1};

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

static lt_sampler *new_sampler(int32_t n_vocab)
{
    lt_sampler *s = NULL;
    CHECK(lt_sampler_create(&s, n_vocab) == LT_OK, "%s", lt_last_error());
    return s;
}

static lt_sampled sample(lt_sampler *s, const lt_sampling *p, const float *logits)
{
    return lt_sample(s, p, logits, NULL, 0, NULL, 0, NULL);
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
        double u = lt_uniform(UINT64_MAX - 3, i << 20);
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
        lt_sampled r = lt_sample(s, &p, logits, history, 6, NULL, 0, NULL);
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
    CHECK(lt_sample(s, &p, logits, NULL, 0, NULL, 0, mask).token == -1, "all masked");
    for (int32_t id = 0; id < N_VOCAB; id++) {
        mask[id / 32] = 1u << id % 32;
        CHECK(lt_sample(s, &p, logits, NULL, 0, NULL, 0, mask).token == id, "only %d is allowed", id);
        mask[id / 32] = 0;
    }
    mask[N_VOCAB / 32] = UINT32_MAX << N_VOCAB % 32; /* bits past the vocabulary allow nothing */
    CHECK(lt_sample(s, &p, logits, NULL, 0, NULL, 0, mask).token == -1, "only padding is allowed");
    int32_t best = sample(s, &p, logits).token, eog[] = {best, -1, N_VOCAB};
    p.flags = LT_SAMPLE_IGNORE_EOS;
    int32_t second = lt_sample(s, &p, logits, NULL, 0, eog, 3, NULL).token;
    CHECK(second >= 0 && second != best, "%d", second);
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
        lt_sampler *fresh = new_sampler(40000);
        lt_sampled a = lt_sample(used, &p, logits[i % 2], history, 300, NULL, 0, NULL);
        lt_sampled b = lt_sample(fresh, &p, logits[i % 2], history, 300, NULL, 0, NULL);
        CHECK(a.token == b.token && a.logprob == b.logprob, "round %u: %d and %d", i, a.token, b.token);
        lt_sampler_destroy(fresh);
    }
    lt_sampler_destroy(used);
}

static void test_settings(void)
{
    lt_sampling p = plain;
    CHECK(lt_sampling_check(&p) == LT_OK, "%s", lt_last_error());
    static const size_t floats[] = {offsetof(lt_sampling, temperature),
                                    offsetof(lt_sampling, top_p),
                                    offsetof(lt_sampling, min_p),
                                    offsetof(lt_sampling, repeat_penalty),
                                    offsetof(lt_sampling, presence_penalty),
                                    offsetof(lt_sampling, frequency_penalty)};
    static const char *const names[] = {"temperature", "top_p", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty"};
    for (size_t i = 0; i < 6; i++) {
        p = plain;
        memcpy((char *)&p + floats[i], &(float){NAN}, sizeof(float));
        CHECK(lt_sampling_check(&p) == LT_E_ARG && strstr(lt_last_error(), names[i]), "%s", lt_last_error());
    }
    p = plain;
    p.repeat_penalty = 0;
    CHECK(lt_sampling_check(&p) == LT_E_ARG, "repeat_penalty 0");
    p = plain;
    p.repeat_last_n = -2;
    CHECK(lt_sampling_check(&p) == LT_E_ARG, "repeat_last_n -2");
}

static void test_create(void)
{
    lt_sampler *s = NULL;
    CHECK(lt_sampler_create(&s, 0) == LT_E_ARG && lt_sampler_create(&s, INT32_MAX) == LT_E_ARG, "range");
    for (int64_t i = 1; i <= 7; i++) {
        lt_fail_alloc_at(i);
        CHECK(lt_sampler_create(&s, 100) == LT_E_NOMEM && !s, "allocation %d", (int)i);
    }
    lt_fail_alloc_at(0);
    int64_t before = lt_alloc_count();
    s = new_sampler(100);
    CHECK(lt_alloc_count() == before + 7, "%d allocations", (int)(lt_alloc_count() - before));
    lt_sampler_destroy(s);
    lt_sampler_destroy(NULL);
}

int main(void)
{
    test_philox();
    test_exp();
    test_exp_sum();
    test_hostile_logits();
    test_extreme_penalties();
    test_mask_and_eog();
    test_ties();
    test_boundaries();
    test_nothing_remembered();
    test_settings();
    test_create();
    return check_report("test_sample");
}
