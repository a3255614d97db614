/* part.c - one GGUF file: magic, version and counts, then its metadata. */
#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "gguf/reader.h"

enum { MIN_PAIR_BYTES = 8 + 1 + 4 + 1, MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8, DEFAULT_ALIGNMENT = 32, MAX_ALIGNMENT = 65536 };

static int check_version(lt_part *part, uint32_t version)
{
    uint32_t swapped = __builtin_bswap32(version);
    if (swapped >= 1 && swapped <= 3)
        return lt_fail(LT_E_UNSUPPORTED, "%s is a big-endian GGUF file, only little-endian ones are supported", part->map.shown);
    if (version < 2 || version > 3)
        return lt_fail(LT_E_UNSUPPORTED, "%s is GGUF version %" PRIu32 ", supported are 2 and 3", part->map.shown, version);
    part->version = version;
    return LT_OK;
}

/* A count is believed only as far as that many of the smallest records fit into the bytes that are left. */
static int check_count(const lt_part *part, const char *what, uint64_t n, uint64_t left, uint64_t record_bytes, uint64_t limit)
{
    if (n > left / record_bytes)
        return lt_fail(LT_E_FORMAT, "%s announces %" PRIu64 " %s, its %" PRIu64 " bytes hold at most %" PRIu64, part->map.shown, n, what,
                       part->map.size, left / record_bytes);
    if (n > limit)
        return lt_fail(LT_E_FORMAT, "%s has %" PRIu64 " %s, limit %" PRIu64, part->map.shown, n, what, limit);
    return LT_OK;
}

static int read_header(lt_part *part, lt_cursor *c)
{
    const uint8_t *h = c->at; /* the mapping has LT_HEADER_BYTES or more */
    if (memcmp(h, "GGUF", 4))
        return lt_fail(LT_E_FORMAT, "%s is not a GGUF file: it starts with bytes %02x %02x %02x %02x", part->map.shown, h[0], h[1], h[2],
                       h[3]);
    LT_TRY(check_version(part, lt_le32(h + 4)));
    uint64_t n_tensors = lt_le64(h + 8), n_pairs = lt_le64(h + 16);
    lt_skip(c, LT_HEADER_BYTES);
    LT_TRY(check_count(part, "metadata keys", n_pairs, lt_left(c), MIN_PAIR_BYTES, LT_MAX_PAIRS));
    LT_TRY(check_count(part, "tensors", n_tensors, lt_left(c), MIN_TENSOR_BYTES, LT_MAX_TENSORS));
    if (n_pairs == 0)
        return lt_fail(LT_E_FORMAT, "%s has no metadata: it announces 0 keys", part->map.shown);
    part->n_pairs = (uint32_t)n_pairs;
    part->n_tensors = (uint32_t)n_tensors;
    return LT_OK;
}

static int read_alignment(lt_part *part)
{
    part->alignment = DEFAULT_ALIGNMENT;
    const lt_pair *pair = lt_meta_find(part, "general.alignment");
    if (!pair)
        return LT_OK;
    if (pair->type != LT_U32)
        return lt_fail(LT_E_FORMAT, "%s: key general.alignment must be u32, is %s", part->map.shown, lt_meta_type_name(pair->type));
    uint32_t a = lt_le32(pair->value);
    if (a < 8 || a > MAX_ALIGNMENT || (a & (a - 1)))
        return lt_fail(LT_E_FORMAT, "%s: key general.alignment is %" PRIu32 ", must be a power of two from 8 to %d", part->map.shown, a,
                       MAX_ALIGNMENT);
    part->alignment = a;
    return LT_OK;
}

int lt_part_open(lt_part *part, const char *path, int32_t load)
{
    *part = (lt_part){0};
    LT_TRY(lt_mapping_open(&part->map, path, LT_HEADER_BYTES, load));
    lt_cursor c = {part->map.base, part->map.base + part->map.size};
    LT_TRY(read_header(part, &c));
    LT_TRY(lt_meta_read(part, &c));
    part->directory = c.at;
    return read_alignment(part);
}

void lt_part_close(lt_part *part)
{
    lt_meta_free(part);
    lt_mapping_close(&part->map);
}
