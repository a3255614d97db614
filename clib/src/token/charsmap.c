/* charsmap.c - walks the trie of a compiled normalisation.
 *
 * A blob is the trie's size in bytes (u32), the trie's units (u32 each), then the texts.  A unit has the byte that leads to
 * it, the distance to its children and a mark that one of them, by the byte 0, is a leaf with the place of a text. */
#include "token/charsmap.h"

#include <inttypes.h>
#include <string.h>

#include "core/memory.h"
#include "core/status.h"

enum { MAX_TEXT = 255, LEAF_FOLLOWS = 1 << 8 };

static int check_texts(const char *path, const uint8_t *texts, uint64_t n)
{
    if (n > 0 && texts[n - 1] != 0)
        return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.precompiled_charsmap: its last text has no end", path);
    for (uint64_t i = 0; i < n;) {
        size_t length = strlen((const char *)texts + i);
        if (length > MAX_TEXT)
            return lt_fail(LT_E_FORMAT, "%s: key tokenizer.ggml.precompiled_charsmap: a text has %zu bytes, limit %d", path, length,
                           MAX_TEXT);
        i += length + 1;
    }
    return LT_OK;
}

static uint32_t distance(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1 << 9) >> 6);
}

/* Whether the unit is the one that the byte leads to: the high bit says that it is a leaf. */
static bool has_label(uint32_t unit, uint8_t byte)
{
    return (unit & (1u << 31 | 0xFF)) == byte;
}

size_t lt_charsmap_find(const lt_charsmap *m, const uint8_t *text, size_t n, const uint8_t **out, size_t *n_out)
{
    size_t longest = 0;
    uint32_t at = m->n_units ? distance(m->units[0]) : 0;
    for (size_t i = 0; i < n; i++) {
        at ^= text[i];
        if (text[i] == 0 || at >= m->n_units || !has_label(m->units[at], text[i]))
            break;
        uint32_t unit = m->units[at];
        at ^= distance(unit);
        if (unit & LEAF_FOLLOWS && at < m->n_units) {
            uint32_t place = m->units[at] & 0x7FFFFFFF;
            if (place < m->n_texts) {
                longest = i + 1;
                *out = m->texts + place;
                *n_out = strlen((const char *)*out);
            }
        }
    }
    return longest;
}

/* Whether some mapped text begins with these two bytes. */
static bool walks(const lt_charsmap *m, uint8_t first, uint8_t second)
{
    uint32_t at = (m->n_units ? distance(m->units[0]) : 0) ^ first;
    if (at >= m->n_units || !has_label(m->units[at], first))
        return false;
    at ^= distance(m->units[at]) ^ second;
    return at < m->n_units && has_label(m->units[at], second);
}

static void find_plain(lt_charsmap *m)
{
    const uint8_t *out;
    size_t n_out;
    for (uint8_t a = 0; a < 128; a++) {
        m->plain[a] = lt_charsmap_find(m, &a, 1, &out, &n_out) == 0;
        for (uint8_t b = 1; m->plain[a] && b < 128; b++)
            m->plain[a] = !walks(m, a, b);
    }
}

int lt_charsmap_load(lt_charsmap *m, const char *path, const uint8_t *blob, uint64_t n)
{
    uint32_t n_trie = 0;
    if (n >= sizeof n_trie)
        memcpy(&n_trie, blob, sizeof n_trie);
    if (n < sizeof n_trie || n > UINT32_MAX || n_trie % sizeof *m->units || n_trie == 0 || n_trie > n - sizeof n_trie)
        return lt_fail(LT_E_FORMAT,
                       "%s: key tokenizer.ggml.precompiled_charsmap has %" PRIu64 " bytes, which do not hold a trie of %" PRIu32, path, n,
                       n_trie);
    const uint8_t *trie = blob + sizeof n_trie;
    LT_TRY(check_texts(path, trie + n_trie, n - sizeof n_trie - n_trie));
    m->n_units = n_trie / (uint32_t)sizeof *m->units;
    m->n_texts = (uint32_t)(n - sizeof n_trie - n_trie);
    m->units = lt_alloc(m->n_units, sizeof *m->units);
    m->texts = lt_alloc(m->n_texts + 1, 1);
    if (!m->units || !m->texts)
        return lt_fail(LT_E_NOMEM, "%s: no memory for a normalisation of %" PRIu64 " bytes", path, n);
    memcpy(m->units, trie, n_trie);
    memcpy(m->texts, trie + n_trie, m->n_texts);
    find_plain(m);
    return LT_OK;
}

void lt_charsmap_free(lt_charsmap *m)
{
    lt_free(m->units);
    lt_free(m->texts);
}
