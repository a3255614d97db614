/* kvmove.c - cells that change their position: values go as they are, keys are read, turned and written again.
 *
 * Tables of angles are made for as many cells as a step has rows; then each (layer, kv head) goes through these cells by itself,
 * in ascending order.  So the bits depend on neither threads nor the size of a step. */
#include "cpu/internal.h"

#include <string.h>

#include "quant/quant.h"

typedef struct {
    cpu_backend *be;
    const lt_move *m;
    int32_t first, n; /* of the move's cells: those that the tables are for */
} move_call;

static void fill_tables(void *context, int32_t row, int32_t worker)
{
    const move_call *c = context;
    (void)worker;
    for (int32_t r = 0; r < c->be->n_ropes; r++) /* a magnitude is in the keys already */
        lt_cpu_fill_table(c->be, r, row, c->m->turn[c->first + row], 1.0f);
}

static void read_floats(int32_t type, const uint8_t *page, int32_t slot, float *x, int32_t k_dim)
{
    const float *cells = (const float *)(const void *)page;
    const uint16_t *halves = (const uint16_t *)(const void *)page;
    for (int32_t i = 0, at = slot; i < k_dim; i++, at += LT_PAGE_KEYS)
        x[i] = type == LT_KV_F32 ? cells[at] : type == LT_KV_F16 ? lt_half_to_float(halves[at]) : lt_bf16_to_float(halves[at]);
}

static float read_scale(int32_t type, const uint8_t *scales, int32_t at)
{
    return type == LT_KV_I16 ? ((const float *)(const void *)scales)[at] : lt_half_to_float(((const uint16_t *)(const void *)scales)[at]);
}

static void read_integers(int32_t type, const uint8_t *page, int32_t slot, float *x, int32_t k_dim)
{
    const int16_t *wide = (const int16_t *)(const void *)page;
    const int8_t *narrow = (const int8_t *)page;
    const uint8_t *scales = page + lt_k_codes_bytes(type, k_dim);
    const int32_t group = lt_kv_types[type].group;
    for (int32_t first = 0; first < k_dim; first += group) {
        const int32_t end = first + group < k_dim ? first + group : k_dim;
        const float scale = read_scale(type, scales, first / group * LT_PAGE_KEYS + slot);
        for (int32_t i = first, at = (first / 2 * LT_PAGE_KEYS + slot) * 2; i < end; i++, at += i % 2 ? 1 : 2 * LT_PAGE_KEYS - 1)
            x[i] = scale * (float)(type == LT_KV_I16 ? wide[at] : narrow[at]);
    }
}

/* n values or scales of `bytes` bytes, the cells' `step` apart. */
static void copy_strided(uint8_t *to, const uint8_t *from, int32_t n, int32_t step, int32_t bytes)
{
    for (int32_t i = 0; i < n; i++, to += step * bytes, from += step * bytes)
        if (bytes == 1)
            *to = *from;
        else if (bytes == 2)
            memcpy(to, from, 2);
        else
            memcpy(to, from, 4);
}

static void copy_value(int32_t type, uint8_t *to, int32_t to_slot, const uint8_t *from, int32_t from_slot, int32_t v_dim)
{
    const int32_t bytes = lt_kv_types[type].value_bytes, scale_bytes = lt_kv_types[type].scale_bytes, stride = lt_v_stride(v_dim);
    if (!lt_kv_types[type].group) {
        memcpy(to + to_slot * stride * bytes, from + from_slot * stride * bytes, (size_t)(v_dim * bytes));
        return;
    }
    const size_t scales = lt_v_codes_bytes(type, v_dim);
    copy_strided(to + (to_slot / 2 * stride * 2 + to_slot % 2) * bytes, from + (from_slot / 2 * stride * 2 + from_slot % 2) * bytes, v_dim,
                 2, bytes);
    copy_strided(to + scales + to_slot * scale_bytes, from + scales + from_slot * scale_bytes, lt_kv_groups(type, v_dim), LT_PAGE_KEYS,
                 scale_bytes);
}

/* Cell first + row of the move, in one layer and kv head. */
static void move_cell(const move_call *c, int32_t row, int32_t layer, int32_t head)
{
    const cpu_backend *be = c->be;
    const lt_move *m = c->m;
    const lt_layer_shape *shape = &be->layers[layer].shape;
    const int32_t from = m->from + c->first + row, to = m->to + c->first + row;
    const int32_t from_page = m->pages[from / LT_PAGE_KEYS], from_slot = from % LT_PAGE_KEYS;
    const int32_t to_page = m->pages[to / LT_PAGE_KEYS], to_slot = to % LT_PAGE_KEYS;
    float key[LT_MAX_HEAD_DIM];
    (lt_kv_types[be->kv.k_type].group ? read_integers : read_floats)(be->kv.k_type, lt_cpu_k_page(be, from_page, layer, head), from_slot,
                                                                     key, shape->k_dim);
    if (m->rope[layer] >= 0)
        lt_cpu_turn(be, m->rope[layer], row, key);
    lt_write_key(be->k, be->kv.k_type, lt_cpu_k_page(be, to_page, layer, head), to_slot, key, shape->k_dim);
    if (from != to)
        copy_value(be->kv.v_type, lt_cpu_v_page(be, to_page, layer, head), to_slot, lt_cpu_v_page(be, from_page, layer, head), from_slot,
                   shape->v_dim);
}

static void move_lane(void *context, int32_t lane, int32_t worker)
{
    const move_call *c = context;
    int32_t layer = 0;
    (void)worker;
    for (int32_t n; lane >= (n = c->be->layers[layer].shape.n_head_kv); layer++)
        lane -= n;
    for (int32_t row = 0; row < c->n; row++)
        if (c->m->from != c->m->to || c->m->turn[c->first + row])
            move_cell(c, row, layer, lane);
}

void lt_cpu_move(lt_backend *base, const lt_move *move)
{
    cpu_backend *be = cpu_of(base);
    int32_t n_lanes = 0;
    for (int32_t i = 0; i < be->kv.n_layers; i++)
        n_lanes += be->layers[i].shape.n_head_kv;
    for (int32_t first = 0; first < move->n; first += be->max_rows) {
        move_call c = {be, move, first, move->n - first < be->max_rows ? move->n - first : be->max_rows};
        lt_pool_run(be->pool, move->n_threads, fill_tables, &c, c.n);
        lt_pool_run(be->pool, move->n_threads, move_lane, &c, n_lanes);
    }
}
