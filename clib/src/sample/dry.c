/* dry.c - "don't repeat yourself": ids that would go on with a repetition are the less likely the longer it is already.
 *
 * Where the last L ids stand earlier in the window as well, what followed them there would make L + 1.  An id pays
 * multiplier * base^(L - allowed_length) for the longest such L, if that is allowed_length or more.  A repetition does not
 * reach back past a breaker.  The lengths for all places at once are the Z-function of the window read backwards:
 * D. Gusfield, "Algorithms on Strings, Trees and Sequences" (1997), chapter 1. */
#include "sample/internal.h"

/* ids[0..n) read backwards begins at its place i as it begins at 0, for runs[i] ids. */
static void find_runs(const int32_t *ids, int32_t n, int32_t *runs)
{
    const int32_t *last = ids + (n - 1);
    runs[0] = n;
    for (int32_t i = 1, left = 0, right = 0; i < n; i++) {
        int32_t run = i < right ? (runs[i - left] < right - i ? runs[i - left] : right - i) : 0;
        while (i + run < n && last[-run] == last[-i - run])
            run++;
        runs[i] = run;
        if (i + run > right) {
            left = i;
            right = i + run;
        }
    }
}

static int32_t breaker_begin(const lt_sampling *p, int32_t k)
{
    return k ? p->breaker_ends[k - 1] : 0;
}

/* The first breaker, in ascending order, that begins with id or one above. */
static int32_t first_breaker(const lt_sampling *p, int32_t id)
{
    int32_t low = 0, high = p->n_breakers;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (p->breakers[breaker_begin(p, middle)] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Length of the longest breaker that ids[0..n) begins with; 0: none. */
static int32_t breaker_at(const lt_sampling *p, const int32_t *ids, int32_t n)
{
    int32_t longest = 0;
    for (int32_t k = first_breaker(p, ids[0]); k < p->n_breakers; k++) {
        const int32_t *breaker = p->breakers + breaker_begin(p, k), length = p->breaker_ends[k] - breaker_begin(p, k);
        if (breaker[0] != ids[0])
            break;
        int32_t same = 1;
        while (same < length && same < n && breaker[same] == ids[same])
            same++;
        longest = same == length && length > longest ? length : longest;
    }
    return longest;
}

/* How many ids stand behind the last breaker. */
static int32_t find_limit(const lt_sampling *p, const int32_t *ids, int32_t n)
{
    for (int32_t i = n - 1; i >= 0; i--) {
        const int32_t length = breaker_at(p, ids + i, n - i);
        if (length)
            return n - i - length;
    }
    return n;
}

/* base^exponent from products alone; infinite when it is too large. */
static double power(double base, int32_t exponent)
{
    double result = 1;
    for (; exponent; exponent >>= 1, base *= base)
        result *= exponent & 1 ? base : 1;
    return result;
}

/* What followed place i from the end, and so would go on with a run of runs[i]; runs[0] is the whole window. */
static int32_t follower(const lt_sampler *s, const int32_t *ids, int32_t n, int32_t i)
{
    const int32_t id = ids[n - i];
    return id >= 0 && id < s->n_vocab ? id : -1;
}

static void penalize(lt_sampler *s, const lt_sampling *p, const int32_t *ids, int32_t n, int32_t limit)
{
    for (int32_t i = 1; i < n; i++) {
        const int32_t id = follower(s, ids, n, i), run = s->runs[i] < limit ? s->runs[i] : limit;
        if (id >= 0 && run >= p->dry_allowed_length && run >= s->counts[id])
            s->counts[id] = run + 1;
    }
    for (int32_t i = 1; i < n; i++) {
        const int32_t id = follower(s, ids, n, i);
        if (id < 0 || !s->counts[id])
            continue;
        const int32_t excess = s->counts[id] - 1 - p->dry_allowed_length;
        s->counts[id] = 0;
        if (s->work[id] > -INFINITY) {
            s->work[id] = lt_finite((float)(s->work[id] - p->dry_multiplier * power(p->dry_base, excess)));
            lt_refresh_block(s, id);
        }
    }
}

void lt_dry(lt_sampler *s, const lt_call *c)
{
    const lt_sampling *p = c->p;
    int32_t n = c->n_history < s->max_history ? c->n_history : s->max_history;
    n = p->dry_penalty_last_n < 0 || p->dry_penalty_last_n > n ? n : p->dry_penalty_last_n;
    if (p->dry_multiplier == 0 || n < 2)
        return;
    const int32_t *ids = c->history + (c->n_history - n), limit = find_limit(p, ids, n);
    if (limit < p->dry_allowed_length)
        return;
    lt_settle(s);
    find_runs(ids, n, s->runs);
    penalize(s, p, ids, n, limit);
    lt_work_changed(s);
}
