/* settings.c - the check of a chain's settings, and a sequence's own copy of them. */
#include <string.h>

#include "core/memory.h"
#include "sample/internal.h"

/* ---- numbers ---- */

static int check_float(const char *name, float value, float low, float high)
{
    if (!isfinite(value))
        return lt_fail(LT_E_ARG, "%s is %f, must be finite", name, (double)value);
    return value >= low && value <= high ? LT_OK
                                         : lt_fail(LT_E_ARG, "%s is %g, must be %g..%g", name, (double)value, (double)low, (double)high);
}

static int check_int(const char *name, int32_t value, int32_t low, int32_t high)
{
    return value >= low && value <= high ? LT_OK : lt_fail(LT_E_ARG, "%s is %d, must be %d..%d", name, value, low, high);
}

static int check_floats(const lt_sampling *p)
{
    const float most = __FLT_MAX__, least = __FLT_DENORM_MIN__;
    const struct {
        const char *name;
        float value, low, high;
    } floats[] = {
        {"temperature", p->temperature, -most, most},
        {"dynatemp_range", p->dynatemp_range, -most, most},
        {"dynatemp_exponent", p->dynatemp_exponent, 0, most},
        {"top_p", p->top_p, -most, most},
        {"min_p", p->min_p, -most, most},
        {"tfs_z", p->tfs_z, -most, most},
        {"typical_p", p->typical_p, -most, most},
        {"top_n_sigma", p->top_n_sigma, -most, most},
        {"xtc_probability", p->xtc_probability, -most, most},
        {"xtc_threshold", p->xtc_threshold, 0, most},
        {"repeat_penalty", p->repeat_penalty, least, most},
        {"presence_penalty", p->presence_penalty, -most, most},
        {"frequency_penalty", p->frequency_penalty, -most, most},
        {"dry_multiplier", p->dry_multiplier, 0, most},
        {"dry_base", p->dry_base, 0, most},
        {"mirostat_tau", p->mirostat_tau, 0, most},
        {"mirostat_eta", p->mirostat_eta, 0, most},
        {"adaptive_target", p->adaptive_target, -most, 1},
        {"adaptive_decay", p->adaptive_decay, 0, 0.99f},
    };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        LT_TRY(check_float(floats[i].name, floats[i].value, floats[i].low, floats[i].high));
    return LT_OK;
}

static int check_ints(const lt_sampling *p)
{
    LT_TRY(check_int("min_keep", p->min_keep, 0, INT32_MAX));
    LT_TRY(check_int("repeat_last_n", p->repeat_last_n, -1, INT32_MAX));
    LT_TRY(check_int("dry_allowed_length", p->dry_allowed_length, 0, INT32_MAX));
    LT_TRY(check_int("dry_penalty_last_n", p->dry_penalty_last_n, -1, INT32_MAX));
    LT_TRY(check_int("n_probs", p->n_probs, 0, LT_MAX_PROBS));
    return check_int("n_prompt", p->n_prompt, 0, INT32_MAX);
}

/* ---- lists ---- */

static int check_chain(const lt_sampling *p)
{
    uint32_t seen = 0;
    LT_TRY(check_int("n_chain", p->n_chain, 0, LT_MAX_CHAIN));
    for (int32_t i = 0; i < p->n_chain; i++) {
        LT_TRY(check_int("a sampler of the chain", p->chain[i], 0, LT_SAMPLER_COUNT - 1));
        if (seen >> p->chain[i] & 1)
            return lt_fail(LT_E_ARG, "sampler %d stands twice in the chain", p->chain[i]);
        if (p->chain[i] >= LT_SAMPLER_MIROSTAT_1 && i < p->n_chain - 1)
            return lt_fail(LT_E_ARG, "sampler %d can only be the chain's last", p->chain[i]);
        seen |= 1u << p->chain[i];
    }
    return LT_OK;
}

static int check_list(const char *name, const void *list, int32_t n, int32_t most)
{
    LT_TRY(check_int(name, n, 0, most));
    return list || !n ? LT_OK : lt_fail(LT_E_ARG, "%s is %d, but there is no list", name, n);
}

static int check_bias(const lt_sampling *p, int32_t n_vocab)
{
    LT_TRY(check_list("n_bias", p->bias, p->n_bias, LT_MAX_BIASES));
    for (int32_t i = 0; i < p->n_bias; i++) {
        LT_TRY(check_int("an id of the logit bias", p->bias[i].id, 0, n_vocab - 1));
        if (!(p->bias[i].bias < INFINITY))
            return lt_fail(LT_E_ARG, "the logit bias of id %d must be a number below infinity", p->bias[i].id);
    }
    return LT_OK;
}

static int check_ids(const char *name, const int32_t *ids, int32_t n, int32_t n_vocab)
{
    for (int32_t i = 0; i < n; i++)
        LT_TRY(check_int(name, ids[i], 0, n_vocab - 1));
    return LT_OK;
}

static int32_t n_breaker_ids(const lt_sampling *p)
{
    return p->n_breakers ? p->breaker_ends[p->n_breakers - 1] : 0;
}

static int check_breakers(const lt_sampling *p, int32_t n_vocab)
{
    LT_TRY(check_list("n_breakers", p->breakers, p->n_breakers, LT_MAX_BREAKER_IDS));
    LT_TRY(check_list("n_breakers", p->breaker_ends, p->n_breakers, LT_MAX_BREAKER_IDS));
    for (int32_t i = 0, begin = 0; i < p->n_breakers; begin = p->breaker_ends[i++])
        LT_TRY(check_int("the end of a breaker", p->breaker_ends[i], begin + 1, LT_MAX_BREAKER_IDS));
    LT_TRY(check_ids("an id of the breakers", p->breakers, n_breaker_ids(p), n_vocab));
    for (int32_t i = 1, before = 0; i < p->n_breakers; before = p->breaker_ends[i - 1], i++)
        if (p->breakers[p->breaker_ends[i - 1]] < p->breakers[before])
            return lt_fail(LT_E_ARG, "breaker %d: first ids must be in ascending order", i);
    return LT_OK;
}

int lt_sampling_check(const lt_sampling *p, int32_t n_vocab)
{
    const uint32_t known = LT_SAMPLE_IGNORE_EOS | LT_SAMPLE_NO_CACHE | LT_SAMPLE_SPARE_NEWLINE | LT_SAMPLE_RESUME | LT_SAMPLE_POST_PROBS |
                           LT_SAMPLE_SCORE | LT_SAMPLE_NO_LOGPROB;
    if (p->flags & ~known)
        return lt_fail(LT_E_ARG, "lt_sampling: flags is %u, of which not all are known", p->flags);
    LT_TRY(check_floats(p));
    LT_TRY(check_ints(p));
    LT_TRY(check_chain(p));
    LT_TRY(check_bias(p, n_vocab));
    LT_TRY(check_breakers(p, n_vocab));
    LT_TRY(check_list("n_penalty_prompt", p->penalty_prompt, p->n_penalty_prompt, LT_MAX_PENALTY_PROMPT));
    LT_TRY(check_ids("an id of the penalty prompt", p->penalty_prompt, p->n_penalty_prompt, n_vocab));
    if (p->flags & LT_SAMPLE_RESUME && !(isfinite(p->state[0]) && isfinite(p->state[1]) && p->state[1] > 0))
        return lt_fail(LT_E_ARG, "lt_sampling: state must be that of an lt_out");
    return LT_OK;
}

/* ---- a copy ---- */

static const void *append(char **end, const void *list, size_t n_bytes)
{
    void *at = *end;
    if (n_bytes)
        memcpy(at, list, n_bytes);
    *end += n_bytes;
    return n_bytes ? at : NULL;
}

int lt_sampling_copy(lt_sampling *to, void **lists, const lt_sampling *from, int32_t n_vocab)
{
    LT_TRY(lt_sampling_check(from, n_vocab));
    const size_t n_bias = sizeof *from->bias * (size_t)from->n_bias, n_breakers = sizeof(int32_t) * (size_t)from->n_breakers;
    const size_t n_ids = sizeof(int32_t) * (size_t)n_breaker_ids(from), n_prompt = sizeof(int32_t) * (size_t)from->n_penalty_prompt;
    const size_t n_bytes = n_bias + n_breakers + n_ids + n_prompt;
    char *end = n_bytes ? lt_alloc(n_bytes, 1) : NULL;
    if (n_bytes && !end)
        return lt_fail(LT_E_NOMEM, "no memory for a sampler's lists");
    *lists = end;
    *to = *from;
    to->bias = append(&end, from->bias, n_bias);
    to->breaker_ends = append(&end, from->breaker_ends, n_breakers);
    to->breakers = append(&end, from->breakers, n_ids);
    to->penalty_prompt = append(&end, from->penalty_prompt, n_prompt);
    return LT_OK;
}

/* ---- state ---- */

static int32_t last_sampler(const lt_sampling *p)
{
    return p->n_chain > 0 && p->n_chain <= LT_MAX_CHAIN ? p->chain[p->n_chain - 1] : -1;
}

int32_t lt_sampling_is_stateless(const lt_sampling *p)
{
    return !p || last_sampler(p) < LT_SAMPLER_MIROSTAT_1;
}

void lt_sampling_start(const lt_sampling *p, float state[2])
{
    state[0] = lt_finite(2 * p->mirostat_tau);
    state[1] = 1;
    if (last_sampler(p) == LT_SAMPLER_ADAPTIVE_P) { /* as if the target had been met for ever */
        state[1] = 1 / (1 - p->adaptive_decay);
        state[0] = p->adaptive_target * state[1];
    }
    if (p->flags & LT_SAMPLE_RESUME)
        memcpy(state, p->state, sizeof p->state);
}
