/* split.c - models cut into several files, model-00001-of-00003.gguf and so on.
 *
 * Each file says which it is (split.no, from 0), of how many (split.count), and how many tensors the whole model has
 * (split.tensors.count).  The first one is the one to open; it has the model's metadata. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "gguf/reader.h"

enum { SUFFIX_BYTES = 20, MAX_LISTED = 4 }; /* "-00001-of-00003.gguf" */

typedef struct {
    uint32_t no, count, n_tensors;
} split_info;

static int read_split_info(const lt_part *part, bool required, split_info *s)
{
    *s = (split_info){.count = 1, .n_tensors = part->n_tensors};
    LT_TRY(lt_meta_u32(part, "split.count", required, &s->count));
    LT_TRY(lt_meta_u32(part, "split.no", s->count > 1, &s->no));
    LT_TRY(lt_meta_u32(part, "split.tensors.count", s->count > 1, &s->n_tensors));
    return LT_OK;
}

static void write_suffix(char *at, uint32_t no, uint32_t count)
{
    char suffix[48];
    snprintf(suffix, sizeof suffix, "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", no + 1, count); /* both at most LT_MAX_PARTS: 20 bytes */
    memcpy(at, suffix, SUFFIX_BYTES);
}

static int check_first(const lt_part *part, const split_info *s)
{
    const char *shown = part->map.shown;
    if (s->count > LT_MAX_PARTS)
        return lt_fail(LT_E_FORMAT, "%s: key split.count is %" PRIu32 ", limit %d", shown, s->count, LT_MAX_PARTS);
    if (s->no >= s->count)
        return lt_fail(LT_E_FORMAT, "%s: key split.no is %" PRIu32 ", must be below split.count, %" PRIu32, shown, s->no, s->count);
    if (s->no != 0)
        return lt_fail(LT_E_FORMAT, "%s is file %" PRIu32 " of %" PRIu32 " of a split model: open the first one", shown, s->no + 1,
                       s->count);
    if (s->n_tensors > LT_MAX_TENSORS)
        return lt_fail(LT_E_FORMAT, "%s: key split.tensors.count is %" PRIu32 ", limit %d", shown, s->n_tensors, LT_MAX_TENSORS);
    char suffix[SUFFIX_BYTES];
    write_suffix(suffix, 0, s->count);
    size_t n = strlen(part->map.path);
    if (n < SUFFIX_BYTES || memcmp(part->map.path + n - SUFFIX_BYTES, suffix, SUFFIX_BYTES))
        return lt_fail(LT_E_FORMAT, "%s is the first file of a split model, its name must end in %.*s", shown, SUFFIX_BYTES, suffix);
    return LT_OK;
}

/* Names all that is missing, so that one look at the sentence is enough. */
static int check_present(char *path, const char *shown, uint32_t count)
{
    char list[MAX_LISTED * (SUFFIX_BYTES + 2) + 1] = "", *suffix = path + strlen(path) - SUFFIX_BYTES;
    uint32_t n_missing = 0;
    for (uint32_t no = 1; no < count; no++) {
        write_suffix(suffix, no, count);
        if (access(path, F_OK) == 0 || errno != ENOENT)
            continue;
        if (n_missing++ < MAX_LISTED)
            snprintf(list + strlen(list), sizeof list - strlen(list), " %s", suffix);
    }
    if (n_missing == 0)
        return LT_OK;
    return lt_fail(LT_E_IO, "%s is split into %" PRIu32 " files, %" PRIu32 " of them missing:%s%s", shown, count, n_missing, list,
                   n_missing > MAX_LISTED ? " ..." : "");
}

/* A value of the first file that another file repeats must be the same. */
static int check_same_str(const lt_part *first, const lt_part *part, const char *key)
{
    const lt_pair *a = lt_meta_find(first, key), *b = lt_meta_find(part, key);
    if (!a || !b || a->type != LT_STR)
        return LT_OK;
    uint64_t len = lt_le64(a->value);
    if (b->type == LT_STR && lt_le64(b->value) == len && !memcmp(a->value + 8, b->value + 8, (size_t)len))
        return LT_OK;
    return lt_fail(LT_E_FORMAT, "%s belongs to another model: its %s differs from that of the first file", part->map.shown, key);
}

static int check_other(const lt_part *first, const lt_part *part, const split_info *model, uint32_t no)
{
    split_info s;
    LT_TRY(read_split_info(part, true, &s));
    if (s.no != no)
        return lt_fail(LT_E_FORMAT, "%s: key split.no is %" PRIu32 ", must be %" PRIu32, part->map.shown, s.no, no);
    if (s.count != model->count)
        return lt_fail(LT_E_FORMAT, "%s: key split.count is %" PRIu32 ", that of the first file is %" PRIu32, part->map.shown, s.count,
                       model->count);
    if (s.n_tensors != model->n_tensors)
        return lt_fail(LT_E_FORMAT,
                       "%s belongs to another model: key split.tensors.count is %" PRIu32 ", that of the first file is %" PRIu32,
                       part->map.shown, s.n_tensors, model->n_tensors);
    LT_TRY(check_same_str(first, part, "general.architecture"));
    return check_same_str(first, part, "general.name");
}

static int open_others(lt_gguf *g, char *path, const split_info *model)
{
    char *suffix = path + strlen(path) - SUFFIX_BYTES;
    for (uint32_t no = 1; no < model->count; no++) {
        write_suffix(suffix, no, model->count);
        int rc = lt_part_open(&g->parts[no], path, g->load);
        g->n_parts = no + 1; /* also after a failure: it has to be closed */
        LT_TRY(rc);
        LT_TRY(check_other(&g->parts[0], &g->parts[no], model, no));
    }
    return LT_OK;
}

static int check_total(const lt_gguf *g, uint32_t expected)
{
    uint64_t n = 0;
    for (uint32_t p = 0; p < g->n_parts; p++)
        n += g->parts[p].n_tensors;
    if (n == expected)
        return LT_OK;
    return lt_fail(LT_E_FORMAT, "%s: key split.tensors.count is %" PRIu32 ", its %" PRIu32 " files have %" PRIu64 " tensors",
                   g->parts[0].map.shown, expected, g->n_parts, n);
}

/* part 0 moves into an array that has room for all of them */
static int make_room(lt_gguf *g, uint32_t count)
{
    lt_part *parts = lt_alloc_zero(count, sizeof *parts);
    if (!parts)
        return lt_fail(LT_E_NOMEM, "%s: no memory for %" PRIu32 " files", g->parts[0].map.shown, count);
    parts[0] = g->parts[0];
    lt_free(g->parts);
    g->parts = parts;
    return LT_OK;
}

int lt_split_open(lt_gguf *g)
{
    split_info model;
    LT_TRY(read_split_info(&g->parts[0], false, &model));
    if (model.count <= 1)
        return LT_OK;
    LT_TRY(check_first(&g->parts[0], &model));
    LT_TRY(make_room(g, model.count));
    size_t n = strlen(g->parts[0].map.path) + 1;
    char *path = lt_alloc(n, 1);
    if (!path)
        return lt_fail(LT_E_NOMEM, "%s: no memory for a path", g->parts[0].map.shown);
    memcpy(path, g->parts[0].map.path, n);
    int rc = check_present(path, g->parts[0].map.shown, model.count);
    if (rc == LT_OK)
        rc = open_others(g, path, &model);
    lt_free(path);
    LT_TRY(rc);
    return check_total(g, model.n_tensors);
}
