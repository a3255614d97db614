/* test_sampling_settings.c - what lt_sampling_check refuses, and the copy that a sequence keeps. */
#include "check.h"

#include <stddef.h>
#include <string.h>

#include "core/memory.h"
#include "sample/internal.h"

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

static int check_changed(size_t offset, const void *value, size_t size)
{
    lt_sampling p = plain;
    memcpy((char *)&p + offset, value, size);
    return lt_sampling_check(&p, 100);
}

static void test_numbers(void)
{
#define FIELD(name, low, high)                                                                                                             \
    {                                                                                                                                      \
        #name, offsetof(lt_sampling, name), low, high                                                                                      \
    }
    static const struct {
        const char *name;
        size_t offset;
        float low, high; /* the first values that are refused; 0: none */
    } floats[] = {FIELD(temperature, 0, 0),
                  FIELD(dynatemp_range, 0, 0),
                  FIELD(dynatemp_exponent, -1, 0),
                  FIELD(top_p, 0, 0),
                  FIELD(min_p, 0, 0),
                  FIELD(tfs_z, 0, 0),
                  FIELD(typical_p, 0, 0),
                  FIELD(top_n_sigma, 0, 0),
                  FIELD(xtc_probability, 0, 0),
                  FIELD(xtc_threshold, -1, 0),
                  FIELD(repeat_penalty, -1, 0),
                  FIELD(presence_penalty, 0, 0),
                  FIELD(frequency_penalty, 0, 0),
                  FIELD(dry_multiplier, -1, 0),
                  FIELD(dry_base, -1, 0),
                  FIELD(mirostat_tau, -1, 0),
                  FIELD(mirostat_eta, -1, 0),
                  FIELD(adaptive_target, 0, 1.1f),
                  FIELD(adaptive_decay, -1, 1)};
    CHECK(lt_sampling_check(&plain, 100) == LT_OK, "%s", lt_last_error());
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        const float wrong[] = {NAN, INFINITY, -INFINITY, floats[i].low, floats[i].high};
        for (int j = 0; j < 5; j++)
            if (wrong[j] != 0)
                CHECK(check_changed(floats[i].offset, &wrong[j], sizeof(float)) == LT_E_ARG && strstr(lt_last_error(), floats[i].name),
                      "%s = %g: %s", floats[i].name, (double)wrong[j], lt_last_error());
    }
    static const size_t ints[] = {offsetof(lt_sampling, min_keep),
                                  offsetof(lt_sampling, n_prompt),
                                  offsetof(lt_sampling, repeat_last_n),
                                  offsetof(lt_sampling, dry_penalty_last_n),
                                  offsetof(lt_sampling, dry_allowed_length),
                                  offsetof(lt_sampling, n_chain),
                                  offsetof(lt_sampling, n_bias),
                                  offsetof(lt_sampling, n_breakers),
                                  offsetof(lt_sampling, n_penalty_prompt)};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        CHECK(check_changed(ints[i], &(int32_t){-2}, sizeof(int32_t)) == LT_E_ARG, "integer %d", (int)i);
    for (size_t i = 5; i < sizeof ints / sizeof *ints; i++)
        CHECK(check_changed(ints[i], &(int32_t){11}, sizeof(int32_t)) == LT_E_ARG, "list %d is NULL", (int)i);
    CHECK(check_changed(offsetof(lt_sampling, repeat_penalty), &(float){0}, sizeof(float)) == LT_E_ARG, "repeat_penalty 0");
    CHECK(check_changed(offsetof(lt_sampling, flags), &(uint32_t){128}, sizeof(uint32_t)) == LT_E_ARG, "an unknown flag");
    CHECK(check_changed(offsetof(lt_sampling, flags), &(uint32_t){LT_SAMPLE_RESUME}, sizeof(uint32_t)) == LT_E_ARG, "no state");
}

static void test_lists(void)
{
    lt_bias bias[] = {{0, 1}, {99, -INFINITY}};
    int32_t breakers[] = {4, 5, 4, 7}, ends[] = {2, 3, 4}, prompt[] = {0, 99};
    lt_sampling p = plain, copy;
    void *lists = NULL;
    p.bias = bias, p.n_bias = 2;
    p.breakers = breakers, p.breaker_ends = ends, p.n_breakers = 3;
    p.penalty_prompt = prompt, p.n_penalty_prompt = 2;
    lt_fail_alloc_at(1);
    CHECK(lt_sampling_copy(&copy, &lists, &p, 100) == LT_E_NOMEM && !lists, "no memory");
    lt_fail_alloc_at(0);
    CHECK(lt_sampling_copy(&copy, &lists, &p, 100) == LT_OK, "%s", lt_last_error());
    CHECK(copy.bias != bias && !memcmp(copy.bias, bias, sizeof bias) && !memcmp(copy.breakers, breakers, sizeof breakers), "copied");
    CHECK(!memcmp(copy.breaker_ends, ends, sizeof ends) && !memcmp(copy.penalty_prompt, prompt, sizeof prompt), "copied");
    lt_free(lists);
    CHECK(lt_sampling_copy(&copy, &lists, &plain, 100) == LT_OK && !lists, "no lists, no memory");
    static const float wrong[] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        bias[1].bias = wrong[i];
        CHECK(lt_sampling_check(&p, 100) == LT_E_ARG, "bias %g", (double)wrong[i]);
    }
    bias[1] = (lt_bias){100, 0};
    CHECK(lt_sampling_check(&p, 100) == LT_E_ARG, "bias of id 100");
    bias[1].id = 1;
    ends[1] = 2;
    CHECK(lt_sampling_check(&p, 100) == LT_E_ARG, "an empty breaker");
    ends[1] = 3;
    breakers[3] = 3;
    CHECK(lt_sampling_check(&p, 100) == LT_E_ARG, "breakers in no order");
    breakers[3] = 100;
    CHECK(lt_sampling_check(&p, 100) == LT_E_ARG, "an id of a breaker");
    breakers[3] = 7;
    prompt[0] = -1;
    CHECK(lt_sampling_check(&p, 100) == LT_E_ARG, "an id of the penalty prompt");
}

static void test_chains(void)
{
    lt_sampling p = plain;
    p.chain[3] = LT_SAMPLER_COUNT;
    CHECK(lt_sampling_check(&p, 100) == LT_E_ARG, "an unknown sampler");
    p.chain[3] = LT_SAMPLER_DRY;
    CHECK(lt_sampling_check(&p, 100) == LT_E_ARG, "twice");
    for (int last = LT_SAMPLER_MIROSTAT_1; last < LT_SAMPLER_COUNT; last++) {
        p = plain;
        p.chain[9] = (uint8_t)last;
        CHECK(lt_sampling_check(&p, 100) == LT_OK, "%s", lt_last_error());
        p.chain[8] = (uint8_t)last;
        p.chain[9] = LT_SAMPLER_TEMPERATURE;
        CHECK(lt_sampling_check(&p, 100) == LT_E_ARG, "%d is not the last", last);
    }
    p.n_chain = 0;
    CHECK(lt_sampling_check(&p, 100) == LT_OK, "%s", lt_last_error());
}

int main(void)
{
    test_numbers();
    test_lists();
    test_chains();
    return check_report("test_sampling_settings");
}
