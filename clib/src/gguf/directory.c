/* directory.c - the tensors of all parts: name, shape, type, and a range of data that is proven to lie in the file.
 *
 * Every range is compared with the size of the file it is in; the ranges of a file ascend and do not overlap. */
#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "gguf/reader.h"
#include "quant/quant.h"

static int read_name(const lt_part *part, lt_cursor *c, uint32_t i, lt_entry *e)
{
    lt_bytes name;
    bool fits = lt_read_str(c, &name);
    if (name.len > LT_MAX_TENSOR_NAME)
        return lt_fail(LT_E_FORMAT, "%s: the name of tensor %" PRIu32 " has %" PRIu64 " bytes, limit %d", part->map.shown, i, name.len,
                       LT_MAX_TENSOR_NAME);
    if (!fits)
        return lt_fail(LT_E_FORMAT, "%s ends inside the name of tensor %" PRIu32 " of %" PRIu32, part->map.shown, i, part->n_tensors);
    if (name.len == 0)
        return lt_fail(LT_E_FORMAT, "%s: the name of tensor %" PRIu32 " is empty", part->map.shown, i);
    if (!lt_name_is_text(name))
        return lt_fail(LT_E_FORMAT, "%s: the name of tensor %" PRIu32 " is not valid UTF-8 text", part->map.shown, i);
    memcpy(e->name, name.bytes, (size_t)name.len); /* the entry was zeroed: a NUL follows */
    e->tensor.name = e->name;
    return LT_OK;
}

static int fail_cut(const lt_part *part, const lt_entry *e)
{
    return lt_fail(LT_E_FORMAT, "%s ends inside the description of tensor %s", part->map.shown, e->name);
}

static int read_shape(const lt_part *part, lt_cursor *c, lt_entry *e)
{
    uint32_t n_dims;
    if (!lt_read_u32(c, &n_dims))
        return fail_cut(part, e);
    if (n_dims < 1 || n_dims > 4)
        return lt_fail(LT_E_FORMAT, "%s: tensor %s has %" PRIu32 " dimensions, must be 1 to 4", part->map.shown, e->name, n_dims);
    e->tensor.n_dims = (int32_t)n_dims;
    for (uint32_t d = 0; d < 4; d++) {
        e->tensor.ne[d] = 1;
        if (d < n_dims && !lt_read_u64(c, &e->tensor.ne[d]))
            return fail_cut(part, e);
        if (e->tensor.ne[d] < 1 || e->tensor.ne[d] > INT64_MAX)
            return lt_fail(LT_E_FORMAT, "%s: tensor %s has %" PRIu64 " elements in dimension %" PRIu32 ", must be 1 to %" PRId64,
                           part->map.shown, e->name, e->tensor.ne[d], d, INT64_MAX);
    }
    return LT_OK;
}

/* n_bytes of whole blocks; a product that does not fit 64 bits is as wrong as one that does not fit the file. */
static int measure(const lt_part *part, const lt_quant_traits *traits, lt_tensor *t)
{
    uint64_t block = (uint64_t)traits->block_values;
    if (t->ne[0] % block)
        return lt_fail(LT_E_FORMAT, "%s: tensor %s has rows of %" PRIu64 " elements, %s needs a multiple of %" PRIu64, part->map.shown,
                       t->name, t->ne[0], traits->name, block);
    uint64_t elements = t->ne[0], bytes;
    bool wraps = false;
    for (int d = 1; d < 4; d++)
        wraps |= __builtin_mul_overflow(elements, t->ne[d], &elements);
    wraps |= __builtin_mul_overflow(elements / block, (uint64_t)traits->block_bytes, &bytes);
    if (wraps || elements > INT64_MAX || bytes > part->map.size)
        return lt_fail(LT_E_FORMAT,
                       "%s: tensor %s of %" PRIu64 " x %" PRIu64 " x %" PRIu64 " x %" PRIu64 " elements does not fit the file of %" PRIu64
                       " bytes",
                       part->map.shown, t->name, t->ne[0], t->ne[1], t->ne[2], t->ne[3], part->map.size);
    t->n_bytes = bytes;
    return LT_OK;
}

static int read_entry(const lt_part *part, lt_cursor *c, uint32_t i, lt_entry *e)
{
    uint32_t type;
    LT_TRY(read_name(part, c, i, e));
    LT_TRY(read_shape(part, c, e));
    if (!lt_read_u32(c, &type) || !lt_read_u64(c, &e->offset))
        return fail_cut(part, e);
    const lt_quant_traits *traits = type <= INT32_MAX ? lt_quant_find((int32_t)type) : NULL;
    if (!traits)
        return lt_fail(LT_E_FORMAT, "%s: tensor %s has type number %" PRIu32 ", which is unknown or was removed from the format",
                       part->map.shown, e->name, type);
    e->tensor.type = (int32_t)type;
    return measure(part, traits, &e->tensor);
}

/* Points the tensor at its data; *end is where the tensor before it stopped. */
static int place(const lt_part *part, lt_entry *e, uint64_t *end)
{
    uint64_t start = (uint64_t)(part->data - part->map.base), room = part->map.size > start ? part->map.size - start : 0;
    if (e->offset % part->alignment)
        return lt_fail(LT_E_FORMAT, "%s: tensor %s has offset %" PRIu64 ", must be a multiple of %" PRIu32, part->map.shown, e->name,
                       e->offset, part->alignment);
    if (e->offset < *end)
        return lt_fail(LT_E_FORMAT, "%s: tensor %s has offset %" PRIu64 ", the tensor before it ends at %" PRIu64, part->map.shown, e->name,
                       e->offset, *end);
    if (e->offset > room || e->tensor.n_bytes > room - e->offset)
        return lt_fail(LT_E_FORMAT, "%s: tensor %s needs %" PRIu64 " bytes at offset %" PRIu64 ", the file has %" PRIu64 " bytes of data",
                       part->map.shown, e->name, e->tensor.n_bytes, e->offset, room);
    e->tensor.data = part->map.load == LT_LOAD_MMAP ? part->data + e->offset : NULL;
    *end = e->offset + e->tensor.n_bytes;
    return LT_OK;
}

static int read_part(lt_gguf *g, uint32_t p, uint32_t first)
{
    lt_part *part = &g->parts[p];
    lt_cursor c = {part->directory, part->map.base + part->map.size};
    for (uint32_t i = 0; i < part->n_tensors; i++) {
        lt_entry *e = &g->tensors[first + i];
        e->part = (int32_t)p;
        LT_TRY(read_entry(part, &c, i, e));
        if (!lt_names_add(&g->names, first + i))
            return lt_fail(LT_E_FORMAT, "%s: tensor %s occurs twice", part->map.shown, e->name);
    }
    uint64_t header = (uint64_t)(c.at - part->map.base), mask = part->alignment - 1, end = 0;
    part->data = part->map.base + ((header + mask) & ~mask);
    for (uint32_t i = 0; i < part->n_tensors; i++)
        LT_TRY(place(part, &g->tensors[first + i], &end));
    lt_mapping_end_header(&part->map, header);
    return LT_OK;
}

static lt_bytes name_of(const void *tensors, uint32_t i)
{
    const lt_entry *e = (const lt_entry *)tensors + i;
    return (lt_bytes){(const uint8_t *)e->name, strlen(e->name)};
}

static int count_tensors(lt_gguf *g)
{
    uint64_t n = 0;
    for (uint32_t p = 0; p < g->n_parts; p++)
        n += g->parts[p].n_tensors;
    if (n > LT_MAX_TENSORS)
        return lt_fail(LT_E_FORMAT, "%s has %" PRIu64 " tensors in all its files, limit %d", g->parts[0].map.shown, n, LT_MAX_TENSORS);
    g->n_tensors = (uint32_t)n;
    return LT_OK;
}

int lt_directory_read(lt_gguf *g)
{
    LT_TRY(count_tensors(g));
    g->tensors = lt_alloc_zero(g->n_tensors, sizeof *g->tensors);
    if (!g->tensors)
        return lt_fail(LT_E_NOMEM, "%s: no memory to describe %" PRIu32 " tensors", g->parts[0].map.shown, g->n_tensors);
    LT_TRY(lt_names_init(&g->names, g->n_tensors, g->tensors, name_of));
    uint32_t first = 0;
    for (uint32_t p = 0; p < g->n_parts; p++) {
        LT_TRY(read_part(g, p, first));
        first += g->parts[p].n_tensors;
    }
    return LT_OK;
}
