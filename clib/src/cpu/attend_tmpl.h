/* attend_tmpl.h - attention of a few queries over pages of 64 keys, online softmax in ascending page order.
 *
 * A query's result is built page by page in the same operations whatever other queries share the tile.  What a key that it may
 * not see holds, be it NaN, never reaches it: neither the scores nor the values of such keys enter its sums, and a page of
 * which it sees nothing leaves its running state bit for bit as it was.
 *
 * Float pages are multiplied as floats.  Integer pages are multiplied as integers, twice as many at once and exactly: queries
 * become integers of 12 bits before, weights times the values' scales integers of 13 bits page by page. */
enum { PAGE = LT_PAGE_KEYS, TILE = 4, HALF = PAGE / 2 };

#define LOWEST (-1e30f) /* maximum of no keys; finite: a page without visible keys changes nothing */

typedef struct { /* keys of a page, [first, end) */
    int first, end;
} key_range;

typedef struct { /* a few queries of a job and a page */
    const lt_attend_job *job;
    const uint8_t *k, *v;
    int first;              /* query */
    int64_t start;          /* position of the page's first key */
    key_range seen[TILE];
    float weight[TILE][PAGE]; /* scores, then weights: e^(score - the page's largest) */
    float share[TILE];        /* what a weight of 1 counts: e^(the page's largest - the largest so far) */
} page_tile;

/* Vectors of 16 sums for each of C queries at once, out of four.  ATTEND_SUMS (simd.h): how many the registers hold. */
INLINE int vectors_at_once(const int C)
{
    return ATTEND_SUMS >= 4 * C ? 4 : ATTEND_SUMS >= 2 * C ? 2 : 1;
}

/* ---- float pages ---- */

INLINE vf load_kv(int type, const void *base, int64_t index)
{
    return type == LT_KV_F16    ? vf_load_f16((const uint16_t *)base + index)
           : type == LT_KV_BF16 ? vf_load_bf16((const uint16_t *)base + index)
                                : vf_load((const float *)base + index);
}

/* weight[c][16N keys from `first` on] = q[c] . K, summed over dimensions in ascending order */
INLINE void score_block(const int C, const int N, int type, page_tile *t, int first)
{
    const int64_t k_dim = t->job->k_dim;
    const float *q = t->job->q + t->first * k_dim;
    vf acc[TILE][4];
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int i = 0; i < N; i++) acc[c][i] = vf_set1(0.0f);
    for (int64_t dim = 0; dim < k_dim; dim++) {
        vf key[4];
        UNROLL for (int i = 0; i < N; i++) key[i] = load_kv(type, t->k, dim * PAGE + first + 16 * i);
        UNROLL for (int c = 0; c < C; c++)
        {
            vf qc = vf_set1(q[c * k_dim + dim]);
            UNROLL for (int i = 0; i < N; i++) acc[c][i] = vf_fma(qc, key[i], acc[c][i]);
        }
    }
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int i = 0; i < N; i++) vf_store(t->weight[c] + first + 16 * i, acc[c][i]);
}

INLINE void float_scores(const int C, int type, page_tile *t)
{
    const int N = vectors_at_once(C);
    for (int first = 0; first < PAGE; first += 16 * N)
        score_block(C, N, type, t, first);
}

/* out[c] += (share[c] * weights[c]) . V over these keys in ascending order; C queries from `first` in the tile, N vectors of 16 dimensions */
INLINE void value_block(const int C, const int N, int type, const page_tile *t, int first, int64_t dim, key_range keys)
{
    const int64_t v_stride = t->job->v_stride;
    vf acc[TILE][4];
    float *out = t->job->out + (t->first + first) * v_stride + dim;
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int i = 0; i < N; i++) acc[c][i] = vf_load(out + c * v_stride + 16 * i);
    for (int64_t key = keys.first; key < keys.end; key++) {
        vf value[4];
        UNROLL for (int i = 0; i < N; i++) value[i] = load_kv(type, t->v, key * v_stride + dim + 16 * i);
        UNROLL for (int c = 0; c < C; c++)
        {
            vf p = vf_set1(t->weight[first + c][key] * t->share[first + c]);
            UNROLL for (int i = 0; i < N; i++) acc[c][i] = vf_fma(p, value[i], acc[c][i]);
        }
    }
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int i = 0; i < N; i++) vf_store(out + c * v_stride + 16 * i, acc[c][i]);
}

INLINE void value_rows(const int C, int type, const page_tile *t, int first, key_range keys)
{
    if (keys.first >= keys.end)
        return;
    int64_t dim = 0;
    for (const int N = vectors_at_once(C); dim + 16 * N <= t->job->v_stride; dim += 16 * N)
        value_block(C, N, type, t, first, dim, keys);
    for (; dim < t->job->v_stride; dim += 16)
        value_block(C, 1, type, t, first, dim, keys);
}

static inline key_range common_keys(const page_tile *t, int n)
{
    key_range common = {0, PAGE};
    for (int c = 0; c < n; c++) {
        common.first = t->seen[c].first > common.first ? t->seen[c].first : common.first;
        common.end = t->seen[c].end < common.end ? t->seen[c].end : common.end;
    }
    if (common.first > common.end)
        common.end = common.first;
    return common;
}

/* The keys that all C queries see in one go; those that only some see, at either end, query by query. */
INLINE void float_values(const int C, int type, const page_tile *t)
{
    const key_range common = common_keys(t, C);
    for (int c = 0; c < C; c++)
        value_rows(1, type, t, c, (key_range){t->seen[c].first, t->seen[c].end < common.first ? t->seen[c].end : common.first});
    value_rows(C, type, t, 0, common);
    for (int c = 0; c < C; c++)
        value_rows(1, type, t, c, (key_range){common.end > t->seen[c].first ? common.end : t->seen[c].first, t->seen[c].end});
}

/* ---- integer pages ---- */

INLINE vp load_pairs(int type, const uint8_t *base, int64_t pair) /* of 16 keys or dimensions */
{
    return type == LT_KV_I16 ? vp_load_i16(base + 4 * pair) : vp_load_i8(base + 2 * pair);
}
INLINE vf load_kv_scale(int type, const uint8_t *scales, int64_t index)
{
    return type == LT_KV_I16 ? vf_load((const float *)scales + index) : vf_load_f16((const uint16_t *)scales + index);
}

/* acc[c][i] = sum over n rows of pairs, `stride` pairs apart, times row[c]'s pairs; vectors [first, first + N) */
INLINE void pair_dots_of(const int C, const int first, const int N, int type, const uint8_t *pairs, int64_t at, int64_t stride, int n,
                         const int16_t *const row[TILE], vi acc[TILE][4])
{
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int i = first; i < first + N; i++) acc[c][i] = vi_set1(0);
    for (int r = 0; r < n; r++, at += stride) {
        vp m[4];
        UNROLL for (int i = first; i < first + N; i++) m[i] = load_pairs(type, pairs, at + 16 * i);
        UNROLL for (int c = 0; c < C; c++)
        {
            int32_t two;
            memcpy(&two, row[c] + 2 * r, 4);
            UNROLL for (int i = first; i < first + N; i++) acc[c][i] = vi_dot_pairs(acc[c][i], m[i], two);
        }
    }
}

INLINE void pair_dots(const int C, const int N, int type, const uint8_t *pairs, int64_t at, int64_t stride, int n, const int16_t *const row[TILE],
                      vi acc[TILE][4])
{
    const int most = vectors_at_once(C);
    if (N <= most)
        pair_dots_of(C, 0, N, type, pairs, at, stride, n, row, acc);
    else
        UNROLL for (int first = 0; first < N; first += most) pair_dots_of(C, first, most, type, pairs, at, stride, n, row, acc);
}

/* Groups in ascending order: score = fma(float(dot), key scale * query scale, score). */
INLINE void integer_scores(const int C, int type, page_tile *t)
{
    const lt_attend_job *job = t->job;
    const int group = lt_kv_types[type].group, n_pairs = (job->k_dim + 1) / 2, q_groups = (job->k_dim + LT_Q_GROUP - 1) / LT_Q_GROUP;
    const uint8_t *scales = t->k + lt_k_codes_bytes(type, job->k_dim);
    for (int c = 0; c < C; c++) /* not in registers: those are for the products */
        memset(t->weight[c], 0, sizeof t->weight[c]);
    for (int g = 0, pair = 0; pair < n_pairs; g++, pair += group / 2) {
        const int16_t *row[TILE];
        vi acc[TILE][4];
        UNROLL for (int c = 0; c < C; c++) row[c] = job->q16 + (int64_t)(t->first + c) * 2 * n_pairs + 2 * pair;
        pair_dots(C, 4, type, t->k, (int64_t)pair * PAGE, PAGE, n_pairs - pair < group / 2 ? n_pairs - pair : group / 2, row, acc);
        UNROLL for (int c = 0; c < C; c++)
        {
            const vf q_scale = vf_set1(job->q_scale[(t->first + c) * q_groups + g * group / LT_Q_GROUP]);
            UNROLL for (int i = 0; i < 4; i++)
            {
                const vf scale = vf_mul(load_kv_scale(type, scales, g * PAGE + 16 * i), q_scale);
                vf_store(t->weight[c] + 16 * i, vf_fma(vf_from_vi(acc[c][i]), scale, vf_load(t->weight[c] + 16 * i)));
            }
        }
    }
}

/* Weights times the scales of one group of dimensions, as integers; returns what an integer of 1 counts. */
INLINE float scale_weights(int type, const float weight[PAGE], float share, const uint8_t *scales, int16_t code[PAGE])
{
    vf w[4];
    UNROLL for (int i = 0; i < 4; i++) w[i] = vf_mul_unless_zero(vf_load(weight + 16 * i), load_kv_scale(type, scales, 16 * i));
    const vi top = vi_max(vi_max(vi_magnitude(w[0]), vi_magnitude(w[1])), vi_max(vi_magnitude(w[2]), vi_magnitude(w[3])));
    const float largest = float_of((uint32_t)vi_largest(top)); /* NaN when one is */
    if (!(largest < INFINITY)) {
        memset(code, 0, PAGE * sizeof *code); /* the result says it */
        return largest;
    }
    const vf inverse = vf_set1(largest > 1e-30f ? LT_I16_MAX / largest : 0.0f);
    UNROLL for (int i = 0; i < 4; i++) vi_store_i16(code + 16 * i, vi_round(vf_mul(w[i], inverse)));
    return share * largest * (1.0f / LT_I16_MAX);
}

INLINE bool sees_any(key_range seen, int first, int end)
{
    return seen.first < seen.end && seen.first < end && seen.end > first;
}

/* N vectors of 16 dimensions from `dim` on; the page's halves one after the other, so that sums fit 32 bits.  A half of which a
 * query sees nothing is left out for it. */
INLINE void integer_block(const int C, const int N, int type, const page_tile *t, int16_t (*code)[PAGE], const float *scale, int64_t dim, int end)
{
    const int64_t v_stride = t->job->v_stride;
    for (int half = 0; half < 2 && half * HALF < end; half++) {
        const int16_t *row[TILE];
        vi acc[TILE][4];
        const int n = end - half * HALF < HALF ? end - half * HALF : HALF;
        UNROLL for (int c = 0; c < C; c++) row[c] = code[c] + half * HALF;
        pair_dots(C, N, type, t->v, half * HALF / 2 * v_stride + dim, v_stride, (n + 1) / 2, row, acc);
        UNROLL for (int c = 0; c < C; c++)
        {
            float *out = t->job->out + (t->first + c) * v_stride + dim;
            if (sees_any(t->seen[c], half * HALF, (half + 1) * HALF)) {
                UNROLL for (int i = 0; i < N; i++)
                    vf_store(out + 16 * i, vf_fma(vf_from_vi(acc[c][i]), vf_set1(scale[c]), vf_load(out + 16 * i)));
            }
        }
    }
}

INLINE void integer_values(const int C, int type, const page_tile *t)
{
    const int64_t v_stride = t->job->v_stride;
    const int group = lt_kv_types[type].group;
    const uint8_t *scales = t->v + (size_t)v_stride * PAGE * lt_kv_types[type].value_bytes;
    int end = 0;
    for (int c = 0; c < C; c++)
        end = t->seen[c].end > end ? t->seen[c].end : end;
    for (int64_t dim = 0; dim < v_stride; scales += PAGE * lt_kv_types[type].scale_bytes) {
        int16_t code[TILE][PAGE];
        float scale[TILE];
        for (int c = 0; c < C; c++)
            scale[c] = scale_weights(type, t->weight[c], t->share[c], scales, code[c]);
        const int64_t stop = dim + group < v_stride ? dim + group : v_stride;
        for (; dim + 64 <= stop; dim += 64)
            integer_block(C, 4, type, t, code, scale, dim, end);
        for (; dim < stop; dim += 16)
            integer_block(C, 1, type, t, code, scale, dim, end);
    }
}

/* ---- softmax ---- */

static inline int within_page(int64_t key)
{
    return key < 0 ? 0 : key > PAGE ? PAGE : (int)key;
}

static inline key_range visible_keys(const lt_attend_job *job, int query, int64_t page_start)
{
    const int64_t at = job->position[query], end = at - page_start + 1;
    const int64_t first = !job->window ? 0 : job->chunked ? at / job->window * job->window - page_start : end - job->window;
    return (key_range){within_page(first), within_page(end)};
}

static inline void hide_unseen(float score[PAGE], key_range seen)
{
    for (int i = 0; i < seen.first; i++)
        score[i] = -INFINITY;
    for (int i = seen.end; i < PAGE; i++)
        score[i] = -INFINITY;
}

/* What some models do to scores before the softmax: a cap, a price for distance. */
static NOINLINE void bend_scores(const page_tile *t, int c, float score[PAGE])
{
    static const float ramp[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const lt_attend_job *job = t->job;
    const float distance = (float)(job->position[t->first + c] - t->start);
    for (int i = 0; i < PAGE; i += 16) {
        vf s = vf_load(score + i);
        if (job->cap > 0.0f)
            s = soft_cap(s, job->cap);
        if (job->slope)
            s = vf_fma(vf_set1(job->slope[t->first + c]), vf_sub(vf_load(ramp), vf_set1(distance - (float)i)), s);
        vf_store(score + i, s);
    }
}

INLINE void softmax_tile(const int C, page_tile *t)
{
    float *state = t->job->state + 2 * t->first, page_max[TILE], x[16] = {0};
    for (int c = 0; c < C; c++) {
        const float *s = t->weight[c];
        if (t->job->cap > 0.0f || t->job->slope)
            bend_scores(t, c, t->weight[c]);
        hide_unseen(t->weight[c], t->seen[c]);
        page_max[c] = vf_largest(vf_max(vf_max(vf_load(s), vf_load(s + 16)), vf_max(vf_load(s + 32), vf_load(s + 48))));
        page_max[c] = page_max[c] > LOWEST ? page_max[c] : LOWEST;
        const float old = state[2 * c], m = page_max[c] > old ? page_max[c] : old;
        x[c] = old - m;
        x[TILE + c] = page_max[c] - m;
        state[2 * c] = m;
    }
    vf_store(x, vf_exp_small(vf_load(x)));
    for (int c = 0; c < C; c++) {
        const vf m = vf_set1(page_max[c]);
        vf v[4];
        UNROLL for (int i = 0; i < 4; i++)
        {
            v[i] = vf_exp_small(vf_sub(vf_load(t->weight[c] + 16 * i), m));
            vf_store(t->weight[c] + 16 * i, v[i]);
        }
        t->share[c] = x[TILE + c];
        state[2 * c + 1] = state[2 * c + 1] * x[c] + vf_sum(vf_add(vf_add(v[0], v[1]), vf_add(v[2], v[3]))) * x[TILE + c];
    }
    for (int c = 0; c < C; c++) {
        float *o = t->job->out + (int64_t)(t->first + c) * t->job->v_stride;
        for (int64_t i = 0; x[c] != 1.0f && i < t->job->v_stride; i += 16)
            vf_store(o + i, vf_mul(vf_load(o + i), vf_set1(x[c])));
    }
}

/* ---- tiles of queries over pages ---- */

#define EACH_TYPE(do_float, do_integer) \
    switch (type) { \
    case LT_KV_F32: do_float(C, LT_KV_F32, t); break; \
    case LT_KV_F16: do_float(C, LT_KV_F16, t); break; \
    case LT_KV_BF16: do_float(C, LT_KV_BF16, t); break; \
    case LT_KV_I16: do_integer(C, LT_KV_I16, t); break; \
    default: do_integer(C, LT_KV_Q8_0, t); \
    }

INLINE void any_scores(const int C, int type, page_tile *t)
{
    EACH_TYPE(float_scores, integer_scores)
}
INLINE void any_values(const int C, int type, page_tile *t)
{
    EACH_TYPE(float_values, integer_values)
}

/* Three functions for each number of queries: as one, the constants of the softmax would take the products' registers. */
#define TILE_OF(C) \
    static NOINLINE void scores_##C(page_tile *t) { any_scores(C, t->job->k_type, t); } \
    static NOINLINE void softmax_##C(page_tile *t) { softmax_tile(C, t); } \
    static NOINLINE void values_##C(page_tile *t) { any_values(C, t->job->v_type, t); }
TILE_OF(1)
TILE_OF(2)
TILE_OF(3)
TILE_OF(4)

typedef void tile_stage(page_tile *t);
static tile_stage *const tile_stages[TILE + 1][3] = {
    {NULL}, {scores_1, softmax_1, values_1}, {scores_2, softmax_2, values_2}, {scores_3, softmax_3, values_3}, {scores_4, softmax_4, values_4},
};

static void attend_page(const lt_attend_job *job, int page)
{
    page_tile t = {.job = job, .k = job->k_pages[page], .v = job->v_pages[page], .start = (int64_t)(job->first_page + page) * PAGE};
    for (; t.first < job->n_queries; t.first += TILE) {
        const int left = job->n_queries - t.first, n = left < TILE ? left : TILE;
        for (int c = 0; c < n; c++)
            t.seen[c] = visible_keys(job, t.first + c, t.start);
        for (int i = 0; i < 3; i++)
            tile_stages[n][i](&t);
    }
}

/* Leaves each query's running maximum and sum in state, and the sum of its weighted values in out. */
static void attend(const lt_attend_job *job)
{
    for (int c = 0; !job->resume && c < job->n_queries; c++) {
        job->state[2 * c] = LOWEST;
        job->state[2 * c + 1] = 0.0f;
        memset(job->out + (int64_t)c * job->v_stride, 0, (size_t)job->v_stride * sizeof(float));
    }
    for (int page = 0; page < job->n_pages; page++)
        attend_page(job, page);
}

/* Two runs of keys that a query has been through become one: to += from (NULL: a run whose values are zeros). */
static void merge(float *to_state, float *to, const float *from_state, const float *from, int64_t v_stride)
{
    const float m = from_state[0] > to_state[0] ? from_state[0] : to_state[0];
    float x[16] = {to_state[0] - m, from_state[0] - m};
    vf_store(x, vf_exp(vf_load(x)));
    const vf a = vf_set1(x[0]), b = vf_set1(x[1]);
    for (int64_t i = 0; i < v_stride; i += 16)
        vf_store(to + i, vf_fma(from ? vf_load(from + i) : vf_set1(0.0f), b, vf_mul(vf_load(to + i), a)));
    to_state[0] = m;
    to_state[1] = to_state[1] * x[0] + from_state[1] * x[1];
}
