/* wpm.c - WordPiece, as BERT has it: words without case and accents, each spelled with the longest tokens from the left.
 *
 * A word is put together with a space in front, character by character, while the text is read once.  One of more than a
 * hundred characters is unknown whatever it says, so that no more of it need be kept. */
#include "token/encoding.h"
#include "token/letters.h"

enum { MAX_CHARS = 100 };

typedef struct {
    lt_encoding *e;
    uint32_t n, n_chars; /* n counts the space */
    uint8_t text[1 + 4 * MAX_CHARS];
} word;

static int end_word(word *w)
{
    uint32_t n_chars = w->n_chars, n = w->n;
    w->n = 1;
    w->n_chars = 0;
    if (n_chars == 0)
        return LT_OK;
    return n_chars > MAX_CHARS ? lt_encoding_push(w->e, w->e->v->info.unk) : lt_encode_piece(w->e, w->text, n);
}

static int put_alone(word *w, uint32_t c)
{
    LT_TRY(end_word(w));
    w->n += lt_utf8_encode(c, w->text + w->n);
    w->n_chars = 1;
    return end_word(w);
}

static int put(word *w, uint32_t c)
{
    bool sign = c < 0x80 ? c > ' ' && c < 0x7F && !lt_rune_is(lt_rune_of(c), LT_RUNE_L | LT_RUNE_N) : lt_rune_is(lt_rune_of(c), LT_RUNE_P);
    if (sign)
        return put_alone(w, c);
    if (w->n_chars++ < MAX_CHARS)
        w->n += lt_utf8_encode(c, w->text + w->n);
    return LT_OK;
}

/* BERT's Chinese characters, each a word. */
static bool is_chinese(uint32_t c)
{
    return (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static int put_letter(word *w, uint32_t c)
{
    const lt_vocab *v = w->e->v;
    uint32_t bases[3] = {c}, lower[2];
    unsigned n_bases = v->unaccent ? lt_without_accents(c, bases) : 1;
    for (unsigned i = 0; i < n_bases; i++) {
        lower[0] = bases[i];
        unsigned n_lower = v->lower ? lt_lower_case(bases[i], lower) : 1;
        for (unsigned j = 0; j < n_lower; j++)
            LT_TRY(put(w, lower[j]));
    }
    return LT_OK;
}

static int put_any(word *w, uint32_t c)
{
    lt_rune r = lt_rune_of(c);
    bool white = c == '\t' || c == '\n' || c == '\r';
    if (c == 0xFFFD || (lt_rune_is(r, LT_RUNE_CONTROL) && !white))
        return LT_OK;
    if (lt_rune_is(r, LT_RUNE_SPACE))
        return end_word(w);
    if (!is_chinese(c))
        return put_letter(w, c);
    LT_TRY(end_word(w));
    LT_TRY(put_letter(w, c));
    return end_word(w);
}

/* Invalid UTF-8 is dropped, as a replacement character would be. */
int lt_wpm_encode(lt_encoding *e, const uint8_t *text, size_t n)
{
    word w = {.e = e, .n = 1, .text = {' '}};
    for (size_t i = 0; i < n;) {
        uint32_t c;
        unsigned n_bytes = lt_utf8_decode(text + i, n - i, &c);
        if (n_bytes)
            LT_TRY(put_any(&w, c));
        i += n_bytes ? n_bytes : 1;
    }
    return end_word(&w);
}

/* Longest token at text[at], *end behind it; -1: none.  Only the first begins with the word's space, and is more than that. */
static int32_t longest_at(const lt_prefix_map *m, const uint8_t *text, uint32_t at, uint32_t n, uint32_t *end)
{
    uint32_t node = 0, limit = at > 0 && text[at] == ' ' ? at + 1 : n;
    int32_t longest = -1;
    for (uint32_t i = at; i < limit; i++) {
        const lt_prefix_slot *edge = lt_prefix_edge(m, node, text[i]);
        if (!edge->child)
            break;
        node = edge->child;
        if (edge->id >= 0 && (at > 0 || i > 0)) {
            longest = edge->id;
            *end = i + 1;
        }
    }
    return longest;
}

int lt_wpm_word(lt_encoding *e, const uint8_t *text, uint32_t n)
{
    size_t before = e->n_ids;
    for (uint32_t at = 0; at < n;) {
        int32_t id = longest_at(&e->v->prefixes, text, at, n, &at);
        if (id < 0) {
            e->n_ids = before;
            return lt_encoding_push(e, e->v->info.unk);
        }
        LT_TRY(lt_encoding_push(e, id));
    }
    return LT_OK;
}
