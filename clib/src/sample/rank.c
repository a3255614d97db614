/* rank.c - the best ids, best first, as many as the filters ask for.
 *
 * An entry is one integer whose ascending order is the ranking: high half the logit mapped so that larger logits are
 * smaller numbers, low half the id.  Growing to n places: find a floor that at least n logits reach, gather what reaches
 * it, sort that.  A floor under n block maxima does when n is small: 64 times fewer numbers to look at, and only about n
 * blocks to gather from.  Floors are rough, 1/32 of a logit, since the sort settles the rest. */
#include "sample/internal.h"

#include <float.h>
#include <string.h>

enum { FIRST_GROWTH = 256, GROWTH = 8, N_BINS = 4096, BINS_PER_UNIT = 32 };

/* ---- logits as integers: ascending key = descending logit ---- */

static uint32_t key_of(float x)
{
    uint32_t u;
    x += 0.0f; /* -0 ties with +0 */
    memcpy(&u, &x, sizeof u);
    return u >> 31 ? u : ~u & 0x7fffffffu;
}

static float logit_of(uint32_t key)
{
    uint32_t u = key >> 31 ? key : ~key & 0x7fffffffu;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static uint64_t entry_of(const lt_sampler *s, int32_t id)
{
    return (uint64_t)key_of(s->work[id]) << 32 | (uint32_t)id;
}

int32_t lt_rank_id(const lt_sampler *s, int32_t i)
{
    return (int32_t)(s->ranked[i] & 0xffffffffu);
}

float lt_rank_logit(const lt_sampler *s, int32_t i)
{
    return logit_of((uint32_t)(s->ranked[i] >> 32));
}

/* ---- a floor, by counting how far below the best each logit lies ---- */

static float floor_of(const float *x, int32_t n_values, float max, int32_t n)
{
    int32_t count[N_BINS] = {0}, bin = 0;
    for (int32_t i = 0; i < n_values; i++) {
        float depth = (max - x[i]) * BINS_PER_UNIT;
        count[depth < N_BINS - 1 ? (int32_t)depth : N_BINS - 1]++;
    }
    while (bin < N_BINS - 1 && n > count[bin])
        n -= count[bin++];
    float floor = bin < N_BINS - 1 ? max - (float)(bin + 1) / BINS_PER_UNIT : -FLT_MAX;
    return floor > -FLT_MAX ? floor : -FLT_MAX;
}

static float floor_for(const lt_sampler *s, int32_t n)
{
    if (n <= s->n_blocks - s->n_blocks / 4)
        return floor_of(s->maxima, s->n_blocks, s->max, n);
    return n < s->n_vocab ? floor_of(s->work, s->n_vocab, s->max, n) : -FLT_MAX;
}

static int32_t gather(lt_sampler *s, float floor)
{
    int32_t n = 0;
    for (int32_t b = 0; b < s->n_blocks; b++) {
        if (s->maxima[b] < floor)
            continue;
        for (int32_t id = b * LT_BLOCK; id < (b + 1) * LT_BLOCK; id++) {
            s->ranked[n] = entry_of(s, id);
            n += s->work[id] >= floor;
        }
    }
    return n;
}

/* ---- sort: insertion when short, else by digits of the key (stable, and gather went by id) ---- */

static void sort_short(uint64_t *a, int32_t n)
{
    for (int32_t i = 1; i < n; i++) {
        uint64_t x = a[i];
        int32_t j = i;
        for (; j > 0 && a[j - 1] > x; j--)
            a[j] = a[j - 1];
        a[j] = x;
    }
}

static void sort_by_digit(const uint64_t *from, uint64_t *to, int32_t n, int shift)
{
    int32_t start[257] = {0};
    for (int32_t i = 0; i < n; i++)
        start[(from[i] >> shift & 255) + 1]++;
    for (int d = 0; d < 256; d++)
        start[d + 1] += start[d];
    for (int32_t i = 0; i < n; i++)
        to[start[from[i] >> shift & 255]++] = from[i];
}

static void sort_ranked(lt_sampler *s, int32_t n)
{
    if (n <= 96) {
        sort_short(s->ranked, n);
        return;
    }
    for (int shift = 32; shift < 64; shift += 16) {
        sort_by_digit(s->ranked, s->spare, n, shift);
        sort_by_digit(s->spare, s->ranked, n, shift + 8);
    }
}

/* ---- growing ---- */

static void weigh(lt_sampler *s, int32_t from)
{
    for (int32_t i = from; i < s->n_ranked; i++) {
        double x = lt_rank_logit(s, i);
        s->weights[i] = lt_exp((x - s->max) / s->temperature);
    }
}

static void grow(lt_sampler *s, int32_t n)
{
    int32_t before = s->n_ranked, n_found = gather(s, floor_for(s, n));
    sort_ranked(s, n_found);
    s->ranked_all = n_found < n || n >= s->n_vocab;
    s->n_ranked = n_found < n ? n_found : n;
    weigh(s, before);
}

void lt_rank_reset(lt_sampler *s)
{
    s->n_ranked = 0;
    s->ranked_all = false;
    s->temperature = 1;
}

void lt_rank_one(lt_sampler *s, int32_t id)
{
    s->ranked[0] = entry_of(s, id);
    s->weights[0] = 1;
    s->n_ranked = 1;
}

bool lt_rank_has(lt_sampler *s, int32_t i)
{
    if (i >= s->n_kept)
        return false;
    if (i >= s->n_ranked && !s->ranked_all) {
        int64_t n = s->n_ranked ? (int64_t)s->n_ranked * GROWTH : FIRST_GROWTH, most = s->n_kept < s->n_vocab ? s->n_kept : s->n_vocab;
        n = n > i ? n : i + 1;
        grow(s, (int32_t)(n < most ? n : most));
    }
    return i < s->n_ranked;
}

void lt_rank_reweigh(lt_sampler *s, double temperature)
{
    if (s->temperature == temperature)
        return;
    s->temperature = temperature;
    weigh(s, 0);
}
