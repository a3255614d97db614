/* route.c - the experts that a row goes to, and their weights: floats in one order, so a row's choice depends on its logits alone. */
#include "cpu/internal.h"

#include <math.h>

static int32_t best_of(const float *score, int32_t n) /* the first of equals */
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (score[i] > score[best])
            best = i;
    return best;
}

/* A group counts as much as its two best experts; the experts of groups that do not count enough cannot be chosen. */
static void keep_groups(const lt_router *r, float *score)
{
    const int32_t size = r->n_expert / r->n_groups;
    float group[LT_MAX_EXPERTS];
    for (int32_t g = 0; g < r->n_groups; g++) {
        float *of_group = score + g * size;
        const int32_t best = best_of(of_group, size);
        float second = size > 1 ? -INFINITY : 0.0f;
        for (int32_t i = 0; i < size; i++)
            if (i != best && of_group[i] > second)
                second = of_group[i];
        group[g] = of_group[best] + second;
    }
    for (int32_t left = r->n_groups_used; left > 0; left--)
        group[best_of(group, r->n_groups)] = -INFINITY;
    for (int32_t i = 0; i < r->n_expert; i++)
        if (group[i / size] > -INFINITY)
            score[i] = -INFINITY;
}

static void choose(const lt_router *r, float *score, int32_t *chosen)
{
    for (int32_t i = 0; r->bias && i < r->n_expert; i++)
        score[i] += r->bias->vector[i];
    if (r->n_groups > 1)
        keep_groups(r, score);
    for (int32_t i = 0; i < r->n_used; i++) {
        chosen[i] = best_of(score, r->n_expert);
        score[chosen[i]] = -INFINITY;
    }
}

/* Liu et al. 2024, "GRIN: GRadient-INformed MoE", as Phi 3.5 MoE has it. */
static float weight_among_near(const lt_kernels *k, const lt_router *r, const float *logits, const int32_t *chosen, int32_t rank)
{
    const float best = logits[chosen[rank]];
    float near[LT_MAX_EXPERTS] = {best};
    int32_t n = 1;
    for (int32_t i = 0; i < r->n_expert; i++) {
        const float size = fabsf(logits[i]) > best ? fabsf(logits[i]) : best;
        bool is_left = true;
        for (int32_t j = 0; j <= rank; j++)
            is_left &= i != chosen[j];
        if (is_left && best - logits[i] <= 0.02f * size)
            near[n++] = logits[i];
    }
    k->softmax(near, n);
    return near[0];
}

static void scale_weights(const lt_router *r, float *weight)
{
    float sum = 0;
    for (int32_t i = 0; i < r->n_used; i++)
        sum += weight[i];
    const float least = 6.1e-5f; /* the smallest normal half: what models were trained with */
    for (int32_t i = 0; r->normalise && i < r->n_used; i++)
        weight[i] /= sum > least ? sum : least;
    for (int32_t i = 0; i < r->n_used; i++)
        weight[i] *= r->scale;
}

void lt_cpu_route(const lt_kernels *k, const lt_router *r, const float *logits, int32_t *chosen, float *weight)
{
    float score[LT_MAX_EXPERTS], value[LT_MAX_EXPERTS], poison = 0; /* NaN when a logit is not finite: the output must say so */
    for (int32_t i = 0; i < r->n_expert; i++) {
        value[i] = logits[i];
        poison += 0.0f * logits[i];
    }
    if (r->scores == LT_ROUTE_SOFTMAX)
        k->softmax(value, r->n_expert);
    else if (r->scores == LT_ROUTE_SIGMOID)
        k->act(LT_SIGMOID, value, value, NULL, r->n_expert);
    for (int32_t i = 0; i < r->n_expert; i++)
        score[i] = r->weigh_input ? logits[i] : value[i];
    choose(r, score, chosen);
    for (int32_t i = 0; i < r->n_used; i++)
        weight[i] = value[chosen[i]];
    if (r->scores == LT_ROUTE_SOFTMAX_CHOSEN)
        k->softmax(weight, r->n_used);
    for (int32_t i = 0; r->scores == LT_ROUTE_SOFTMAX_NEAR && i < r->n_used; i++)
        weight[i] = weight_among_near(k, r, logits, chosen, i);
    scale_weights(r, weight);
    for (int32_t i = 0; i < r->n_used; i++)
        weight[i] += poison;
}
