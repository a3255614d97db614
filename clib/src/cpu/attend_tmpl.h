/* attend_tmpl.h - attention of a few queries over pages of 64 keys, online softmax merged in ascending page order.
 *
 * A query's result is built page by page in the same operations whatever other queries share the tile.  What a key that it may
 * not see holds, be it NaN, never reaches it: neither the scores nor the values of such keys enter its sums, and a page of
 * which it sees nothing leaves its running state bit for bit as it was. */
enum { PAGE = 64, TILE = 4 };

INLINE vf load_kv(int f16, const void *base, int64_t index)
{
    return f16 ? vf_load_f16((const uint16_t *)base + index) : vf_load((const float *)base + index);
}

/* scores[c][64] = q[c] . K, summed over dimensions in ascending order */
INLINE void score_tile(const int C, int f16, const lt_attend_job *job, const void *k, int first)
{
    vf acc[TILE][4];
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int i = 0; i < 4; i++) acc[c][i] = vf_set1(0.0f);
    const float *q = job->q + (int64_t)first * job->head_dim;
    for (int64_t dim = 0; dim < job->head_dim; dim++) {
        vf key[4];
        UNROLL for (int i = 0; i < 4; i++) key[i] = load_kv(f16, k, dim * PAGE + 16 * i);
        UNROLL for (int c = 0; c < C; c++)
        {
            vf qc = vf_set1(q[c * job->head_dim + dim]);
            UNROLL for (int i = 0; i < 4; i++) acc[c][i] = vf_fma(qc, key[i], acc[c][i]);
        }
    }
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int i = 0; i < 4; i++) vf_store(job->scores + (first + c) * PAGE + 16 * i, acc[c][i]);
}

typedef struct { /* keys of a page, [first, end) */
    int first, end;
} key_range;

static inline int within_page(int64_t key)
{
    return key < 0 ? 0 : key > PAGE ? PAGE : (int)key;
}

static inline key_range visible_keys(const lt_attend_job *job, int query, int64_t page_start)
{
    const int64_t end = job->position[query] - page_start + 1;
    return (key_range){job->window > 0 ? within_page(end - job->window) : 0, within_page(end)};
}

/* Turns one query's scores of a page into weights; rescales its output row when the maximum moved. */
static inline void softmax_page(const lt_attend_job *job, int query, int64_t page_start)
{
    float *s = job->scores + query * PAGE, *state = job->state + 2 * query;
    const key_range seen = visible_keys(job, query, page_start);
    for (int i = 0; i < seen.first; i++)
        s[i] = -INFINITY;
    for (int i = seen.end; i < PAGE; i++)
        s[i] = -INFINITY;
    vf v[4], top;
    UNROLL for (int i = 0; i < 4; i++) v[i] = vf_load(s + 16 * i);
    top = vf_max(vf_max(v[0], v[1]), vf_max(v[2], v[3]));
    float page_max = vf_largest(top), old = state[0], m = page_max > old ? page_max : old;
    vf vm = vf_set1(m);
    UNROLL for (int i = 0; i < 4; i++)
    {
        v[i] = vf_exp(vf_sub(v[i], vm));
        vf_store(s + 16 * i, v[i]);
    }
    float page_sum = vf_sum(vf_add(vf_add(v[0], v[1]), vf_add(v[2], v[3])));
    float t[16];
    vf_store(t, vf_exp(vf_set1(old - m)));
    state[0] = m;
    state[1] = state[1] * t[0] + page_sum;
    if (m != old) {
        vf correction = vf_set1(t[0]);
        float *o = job->out + (int64_t)query * job->v_stride;
        for (int64_t i = 0; i < job->v_stride; i += 16)
            vf_store(o + i, vf_mul(vf_load(o + i), correction));
    }
}

/* out[c] += weights[c] . V over these keys in ascending order; N vectors of 16 dimensions at a time */
INLINE void value_tile(const int C, const int N, int f16, const lt_attend_job *job, const void *v, int first, int64_t dim, key_range keys)
{
    vf acc[TILE][4];
    float *out = job->out + (int64_t)first * job->v_stride + dim;
    const float *weight = job->scores + first * PAGE;
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int i = 0; i < N; i++) acc[c][i] = vf_load(out + c * job->v_stride + 16 * i);
    for (int64_t t = keys.first; t < keys.end; t++) {
        vf value[4];
        UNROLL for (int i = 0; i < N; i++) value[i] = load_kv(f16, v, t * job->v_stride + dim + 16 * i);
        UNROLL for (int c = 0; c < C; c++)
        {
            vf p = vf_set1(weight[c * PAGE + t]);
            UNROLL for (int i = 0; i < N; i++) acc[c][i] = vf_fma(p, value[i], acc[c][i]);
        }
    }
    UNROLL for (int c = 0; c < C; c++) UNROLL for (int i = 0; i < N; i++) vf_store(out + c * job->v_stride + 16 * i, acc[c][i]);
}

INLINE void value_rows(const int C, int f16, const lt_attend_job *job, const void *v, int first, key_range keys)
{
    if (keys.first >= keys.end)
        return;
    int64_t dim = 0;
    for (; dim + 64 <= job->v_stride; dim += 64)
        value_tile(C, 4, f16, job, v, first, dim, keys);
    for (; dim < job->v_stride; dim += 16)
        value_tile(C, 1, f16, job, v, first, dim, keys);
}

/* The keys that all C queries see in one go; those that only some see, at either end, query by query. */
INLINE void visible_values(const int C, int f16, const lt_attend_job *job, const void *v, int first, int64_t page_start)
{
    key_range seen[TILE], common = {0, PAGE};
    for (int c = 0; c < C; c++) {
        seen[c] = visible_keys(job, first + c, page_start);
        common.first = seen[c].first > common.first ? seen[c].first : common.first;
        common.end = seen[c].end < common.end ? seen[c].end : common.end;
    }
    if (common.first > common.end)
        common.end = common.first;
    for (int c = 0; c < C; c++)
        value_rows(1, f16, job, v, first + c, (key_range){seen[c].first, seen[c].end < common.first ? seen[c].end : common.first});
    value_rows(C, f16, job, v, first, common);
    for (int c = 0; c < C; c++)
        value_rows(1, f16, job, v, first + c, (key_range){common.end > seen[c].first ? common.end : seen[c].first, seen[c].end});
}

INLINE void attend_page(int f16, const lt_attend_job *job, int page)
{
    const int n = job->n_queries;
    const int64_t start = (int64_t)(job->first_page + page) * PAGE;
    const void *k = job->k_pages[page], *v = job->v_pages[page];
    int i = 0;
    for (; i + TILE <= n; i += TILE)
        score_tile(4, f16, job, k, i);
    switch (n - i) {
    case 3: score_tile(3, f16, job, k, i); break;
    case 2: score_tile(2, f16, job, k, i); break;
    case 1: score_tile(1, f16, job, k, i); break;
    default: break;
    }
    for (int c = 0; c < n; c++)
        softmax_page(job, c, start);
    for (i = 0; i + TILE <= n; i += TILE)
        visible_values(4, f16, job, v, i, start);
    switch (n - i) {
    case 3: visible_values(3, f16, job, v, i, start); break;
    case 2: visible_values(2, f16, job, v, i, start); break;
    case 1: visible_values(1, f16, job, v, i, start); break;
    default: break;
    }
}

INLINE void attend(int f16, const lt_attend_job *job)
{
    const vf zero = vf_set1(0.0f);
    for (int c = 0; c < job->n_queries; c++) {
        job->state[2 * c] = -1e30f; /* finite: a page without visible keys changes nothing */
        job->state[2 * c + 1] = 0.0f;
        for (int64_t i = 0; i < job->v_stride; i += 16)
            vf_store(job->out + (int64_t)c * job->v_stride + i, zero);
    }
    for (int page = 0; page < job->n_pages; page++)
        attend_page(f16, job, page);
    for (int c = 0; c < job->n_queries; c++) {
        vf inverse = vf_set1(1.0f / job->state[2 * c + 1]);
        float *o = job->out + (int64_t)c * job->v_stride;
        for (int64_t i = 0; i < job->v_stride; i += 16)
            vf_store(o + i, vf_mul(vf_load(o + i), inverse));
    }
}

static void attend_f32(const lt_attend_job *job) { attend(0, job); }
static void attend_f16(const lt_attend_job *job) { attend(1, job); }
