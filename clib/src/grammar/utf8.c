/* utf8.c - classes of characters as automata over the bytes of UTF-8.
 *
 * The code points of one length are numbers of two to four digits, six bits each but the first.  Ranges are cut at those
 * digits: where a range holds all that a digit leaves open, any continuation bytes may follow; else the next digit decides. */
#include "grammar/program.h"

typedef struct {
    lt_program *p;
    const lt_rune_range *r;
    uint32_t n, next;
    uint32_t any[4]; /* [k] reads k continuation bytes, whichever; 0: not there yet */
} class_cut;

/* At most one edge for each lead byte, or continuation byte. */
typedef struct {
    lt_edge edges[256];
    uint32_t n;
} edge_list;

uint32_t lt_rune_to_utf8(uint32_t rune, uint8_t out[4])
{
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    uint32_t n = rune < 0x80 ? 1 : rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    for (uint32_t i = n; i-- > 1; rune >>= 6)
        out[i] = (uint8_t)(0x80 | (rune & 0x3F));
    out[0] = (uint8_t)(lead[n] | rune);
    return n;
}

static void add_edge(edge_list *list, uint32_t low, uint32_t high, uint32_t to)
{
    lt_edge *last = list->n ? &list->edges[list->n - 1] : NULL;
    if (last && last->to == to && last->high + 1u == low)
        last->high = (uint8_t)high;
    else
        list->edges[list->n++] = (lt_edge){(uint8_t)low, (uint8_t)high, to};
}

static int any_bytes(class_cut *c, uint32_t n, uint32_t *out)
{
    *out = c->next;
    for (uint32_t k = 1; k <= n; k++) {
        if (!c->any[k])
            LT_TRY(lt_program_add_read(c->p, &(lt_edge){0x80, 0xBF, *out}, 1, &c->any[k]));
        *out = c->any[k];
    }
    return LT_OK;
}

/* First range that does not end before `rune`. */
static uint32_t first_from(const class_cut *c, uint32_t rune)
{
    uint32_t low = 0, high = c->n;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (c->r[mid].high < rune)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Edges for the digit that `shift` bits follow, the first of code points base .., as byte `zero`; code points below `least`
 * have a shorter form. */
static int cut_digit(class_cut *c, uint32_t base, uint32_t shift, uint32_t n_digits, uint32_t zero, uint32_t least, edge_list *list)
{
    for (uint32_t digit = 0; digit < n_digits; digit++) {
        uint32_t low = base + (digit << shift), high = low + (1u << shift) - 1, last = digit, to = c->next;
        uint32_t i = first_from(c, low > least ? low : least);
        if (i == c->n || high < least || c->r[i].low > high) {
            uint32_t start = i < c->n && c->r[i].low > least ? c->r[i].low : least; /* on to the next digit with something in it */
            digit = i == c->n ? n_digits : ((start - base) >> shift) - 1;
            continue;
        }
        if (c->r[i].low <= low && low >= least && c->r[i].high >= high) {
            uint32_t behind = (c->r[i].high + 1 - base) >> shift;
            last = (behind < n_digits ? behind : n_digits) - 1;
            LT_TRY(any_bytes(c, shift / 6, &to));
        } else if (shift) {
            edge_list inner = {.n = 0};
            LT_TRY(cut_digit(c, low, shift - 6, 64, 0x80, least, &inner));
            LT_TRY(lt_program_add_read(c->p, inner.edges, inner.n, &to));
        }
        add_edge(list, zero + digit, zero + last, to);
        digit = last;
    }
    return LT_OK;
}

int lt_program_add_class(lt_program *p, const lt_rune_range *r, uint32_t n, uint32_t next, uint32_t *out)
{
    class_cut c = {.p = p, .r = r, .n = n, .next = next};
    edge_list list = {.n = 0};
    LT_TRY(cut_digit(&c, 0, 0, 0x80, 0x00, 0, &list));
    LT_TRY(cut_digit(&c, 0, 6, 0x20, 0xC0, 0x80, &list));
    LT_TRY(cut_digit(&c, 0, 12, 0x10, 0xE0, 0x800, &list));
    LT_TRY(cut_digit(&c, 0, 18, 0x05, 0xF0, 0x10000, &list));
    return lt_program_add_read(p, list.edges, list.n, out);
}
