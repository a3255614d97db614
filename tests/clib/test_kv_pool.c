/* test_kv_pool.c - where pages lie in the KV pool, and how much of it the system has to give for the first tokens. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend_rig.h"

enum { N_LAYERS = 16, N_PAGES = 100 /* the last block has four */, MAX_LANES = N_PAGES * N_LAYERS * 4, HUGE_PAGE = 2 << 20 };

/* Layers of several shapes, one of them without attention. */
static void pool_create(rig *r, int32_t n_pages, int32_t k_type, int32_t v_type)
{
    static const lt_layer_shape kinds[] = {{.n_head = 4, .n_head_kv = 2, .k_dim = 64, .v_dim = 64},
                                           {.n_head = 4, .n_head_kv = 4, .k_dim = 80, .v_dim = 48},
                                           {.n_state = 8},
                                           {.n_head = 3, .n_head_kv = 1, .k_dim = 293, .v_dim = 256}};
    static const float frequency = 1.0f;
    lt_layer_shape layers[N_LAYERS];
    for (int i = 0; i < N_LAYERS; i++)
        layers[i] = kinds[i % 4];
    const lt_kv_shape shape = {.layers = layers,
                               .n_layers = N_LAYERS,
                               .page_tokens = 64,
                               .n_pages = n_pages,
                               .max_pages = n_pages,
                               .n_states = 1,
                               .k_type = k_type,
                               .v_type = v_type};
    const lt_rope rope = {.n_rot = 2, .magnitude = 1, .frequency = &frequency};
    rig_create(r, 1, 1, lt_kernels_get());
    CHECK(r->be->ops->ready(r->be, &shape, &rope, 1) == LT_OK, "%s", lt_last_error());
}

typedef struct {
    const uint8_t *start, *end;
} lane;

static int by_start(const void *a, const void *b)
{
    const uint8_t *x = ((const lane *)a)->start, *y = ((const lane *)b)->start;
    return (x > y) - (x < y);
}

/* All pages' parts lie side by side and fill the pool, whatever the types and however many pages the last block has. */
static void test_lanes_fill_the_pool(int32_t n_pages, int32_t k_type, int32_t v_type)
{
    static lane lanes[MAX_LANES];
    size_t n = 0;
    rig r;
    pool_create(&r, n_pages, k_type, v_type);
    const cpu_backend *be = cpu_of(r.be);
    for (int32_t page = 0; page < n_pages; page++)
        for (int32_t layer = 0; layer < N_LAYERS; layer++)
            for (int32_t head = 0; head < be->layers[layer].shape.n_head_kv; head++) {
                const kv_layer *l = &be->layers[layer];
                const uint8_t *k = lt_cpu_k_page(be, page, layer, head), *v = lt_cpu_v_page(be, page, layer, head);
                CHECK(!((uintptr_t)k % 64) && !((uintptr_t)v % 64) && v == k + l->k_page_bytes, "page %d, layer %d", page, layer);
                lanes[n++] = (lane){k, v + l->v_page_bytes};
            }
    qsort(lanes, n, sizeof *lanes, by_start);
    for (size_t i = 0; i < n; i++)
        CHECK(lanes[i].start == (i ? lanes[i - 1].end : be->kv_data), "part %zu of the pool of %d pages", i, n_pages);
    CHECK(lanes[n - 1].end == be->kv_data + be->memory.kv_bytes, "the pool of %d pages has an end of its own", n_pages);
    rig_destroy(&r);
}

/* Bytes of the pool that the system has given memory for. */
static size_t resident(const cpu_backend *be)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), n = (size_t)be->memory.kv_bytes / page;
    unsigned char *present = malloc(n);
    size_t found = 0;
    CHECK(present && !mincore(be->kv_data, n * page, present), "mincore");
    for (size_t i = 0; present && i < n; i++)
        found += (present[i] & 1) * page;
    free(present);
    return found;
}

/* The cells of a few tokens in all layers take a small part of the pool, also in huge pages; those of a page far behind as much again. */
static void test_memory_comes_as_tokens_do(void)
{
    rig r;
    pool_create(&r, N_PAGES, LT_KV_I16, LT_KV_I16);
    const cpu_backend *be = cpu_of(r.be);
    const size_t page_bytes = (size_t)be->memory.page_bytes, pool = (size_t)be->memory.kv_bytes;
    void *zeros = calloc(1, page_bytes);
    /* an allocator that checks itself has written to the first page */
    CHECK(pool >= 16 * HUGE_PAGE && resident(be) <= HUGE_PAGE, "of %zu bytes %zu are there before the first token", pool, resident(be));
    for (int32_t n = 1; n <= 2; n++) {
        CHECK(zeros && r.be->ops->write_page(r.be, n * N_PAGES / 3, 1, zeros) == LT_OK, "%s", lt_last_error());
        const size_t has = resident(be), written = (size_t)n * page_bytes;
        CHECK(has >= written && has <= (size_t)n * pool / 5, "%zu bytes of %zu are there for %zu", has, pool, written);
    }
    free(zeros);
    rig_destroy(&r);
}

int main(void)
{
    static const int32_t sizes[] = {1, LT_BLOCK_PAGES - 1, LT_BLOCK_PAGES, LT_BLOCK_PAGES + 1, N_PAGES};
    for (int32_t type = 0; type < LT_KV_TYPES; type++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            test_lanes_fill_the_pool(sizes[i], type, (type + 2) % LT_KV_TYPES);
    test_memory_comes_as_tokens_do();
    return check_report("kv_pool");
}
