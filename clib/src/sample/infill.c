/* infill.c - for code between two pieces of code: end rather than go on, and take pieces that begin alike as one.
 *
 * 1. When the ids that end generation have too large a part, they alone stay.
 * 2. Where one piece begins another, the likelier of the two gets the probability of both.
 * 3. Of the others only the likely ones stay; when none does, generation ends.
 * It looks at the N_BEST best survivors, since it compares each with each. */
#include <string.h>

#include "sample/internal.h"

enum { N_BEST = 128 };
static const double LIKELY = 0.2;

typedef struct {
    int32_t n;
    int32_t ids[N_BEST];
    double weights[N_BEST]; /* 0: gone */
    bool ends[N_BEST];      /* generation */
} choice;

static bool ends_generation(const lt_sampler *s, int32_t id)
{
    for (int32_t i = 0; i < s->lexicon.n_eog; i++)
        if (s->lexicon.eog[i] == id)
            return true;
    return false;
}

static choice take_best(lt_sampler *s)
{
    choice c = {0};
    double total = 0;
    for (; c.n < N_BEST && lt_rank_has(s, c.n); c.n++) {
        c.ids[c.n] = lt_rank_id(s, c.n);
        c.weights[c.n] = s->weights[c.n];
        c.ends[c.n] = ends_generation(s, c.ids[c.n]);
        total += s->weights[c.n];
    }
    for (int32_t i = 0; i < c.n; i++)
        c.weights[i] /= total;
    return c;
}

static bool should_end(const choice *c)
{
    double part = 0;
    for (int32_t i = 0; i < c->n; i++)
        part += c->ends[i] ? c->weights[i] : 0;
    return 3 * part * c->n > 1 - part;
}

static bool begins(const lt_sampler *s, int32_t a, int32_t b)
{
    uint32_t n_a, n_b;
    const char *piece_a = s->lexicon.piece(s->lexicon.vocab, a, &n_a), *piece_b = s->lexicon.piece(s->lexicon.vocab, b, &n_b);
    return n_a > 0 && n_a <= n_b && !memcmp(piece_a, piece_b, n_a);
}

static void merge(const lt_sampler *s, choice *c)
{
    for (int32_t i = 0; i < c->n; i++)
        for (int32_t j = 0; j < c->n && c->weights[i] > 0; j++) {
            if (i == j || c->weights[j] <= 0 || c->ends[i] || c->ends[j] || !begins(s, c->ids[i], c->ids[j]))
                continue;
            const int32_t winner = c->weights[j] > c->weights[i] ? j : i, loser = i + j - winner;
            c->weights[winner] += c->weights[loser];
            c->weights[loser] = 0;
        }
}

/* Keeps what ends generation and of the rest what has `floor` of the whole at least; returns how many of the rest. */
static int32_t keep_likely(choice *c, double floor, bool text)
{
    double total = 0;
    int32_t n = 0, n_text = 0;
    for (int32_t i = 0; i < c->n; i++)
        total += c->weights[i];
    for (int32_t i = 0; i < c->n; i++)
        if (c->weights[i] > 0 && (c->ends[i] || (text && c->weights[i] >= floor * total))) {
            n_text += !c->ends[i];
            c->ids[n] = c->ids[i];
            c->ends[n] = c->ends[i];
            c->weights[n++] = c->weights[i];
        }
    c->n = n;
    return n_text;
}

void lt_infill(lt_sampler *s, const lt_call *call)
{
    choice c = take_best(s);
    if (should_end(&c)) {
        keep_likely(&c, 0, false);
    } else {
        merge(s, &c);
        const int32_t n_text = keep_likely(&c, LIKELY, true), eot = s->lexicon.eot;
        if (n_text)
            keep_likely(&c, 1.0 / (n_text + 1), true);
        else if (eot >= 0 && s->work[eot] > -INFINITY)
            c = (choice){.n = 1, .ids = {eot}, .weights = {1}};
    }
    if (c.n) /* else generation may not end here: all stays as it was */
        lt_settle_as(s, c.ids, c.weights, c.n);
}
