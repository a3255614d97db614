/* words.c - choices of texts, such as the values of an enumeration or keywords: thousands of them cost one position a byte. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "grammar/program.h"

enum { MAX_BRANCHES = 64 }; /* one behind the other; words that still agree then are read side by side */

static int by_text(const void *a, const void *b)
{
    const lt_word *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* Reads text[from .. to), then goes on at *out, which becomes the first of it. */
static int add_chain(lt_program *p, const uint8_t *text, uint32_t from, uint32_t to, uint32_t *out)
{
    for (uint32_t i = to; i-- > from;)
        LT_TRY(lt_program_add_read(p, &(lt_edge){text[i], text[i], *out}, 1, out));
    return LT_OK;
}

static int add_side_by_side(lt_program *p, const lt_word *w, uint32_t n, uint32_t depth, uint32_t *out)
{
    LT_LIST(uint32_t) entries = {NULL, 0, 0};
    int rc = LT_ROOM(&entries, n) ? LT_OK : lt_tree_no_memory();
    for (uint32_t i = 0; i < n && rc == LT_OK; i++) {
        entries.at[i] = w[i].rest;
        rc = add_chain(p, w[i].text, depth, w[i].n, &entries.at[i]);
    }
    if (rc == LT_OK)
        rc = lt_program_add_fork(p, entries.at, n, out);
    lt_free(entries.at);
    return rc;
}

static int add_tree(lt_program *p, const lt_word *w, uint32_t n, uint32_t depth, int branches, uint32_t *out);

/* The words, all longer than depth, by their next byte. */
static int add_branches(lt_program *p, const lt_word *w, uint32_t n, uint32_t depth, int branches, uint32_t *out)
{
    lt_edge edges[256];
    uint32_t n_edges = 0;
    for (uint32_t from = 0, to = 0; from < n; from = to) {
        uint8_t byte = w[from].text[depth];
        while (to < n && w[to].text[depth] == byte)
            to++;
        edges[n_edges] = (lt_edge){byte, byte, 0};
        LT_TRY(add_tree(p, w + from, to - from, depth + 1, branches + 1, &edges[n_edges].to));
        n_edges++;
    }
    return lt_program_add_read(p, edges, n_edges, out);
}

/* Words that agree in their first `depth` bytes. */
static int add_tree(lt_program *p, const lt_word *w, uint32_t n, uint32_t depth, int branches, uint32_t *out)
{
    uint32_t shared = depth, n_ended = 0;
    const lt_word *last = &w[n - 1];
    while (shared < w->n && shared < last->n && w->text[shared] == last->text[shared])
        shared++;
    while (n_ended < n && w[n_ended].n == shared)
        n_ended++;
    if (branches == MAX_BRANCHES || n_ended == n) {
        LT_TRY(add_side_by_side(p, w, n, shared, out));
    } else {
        LT_TRY(add_branches(p, w + n_ended, n - n_ended, shared, branches, out));
        if (n_ended) {
            lt_word rest = {.text = w->text, .n = shared, .rest = *out};
            LT_LIST(lt_word) both = {NULL, 0, 0};
            if (!LT_ROOM(&both, (size_t)n_ended + 1))
                return lt_tree_no_memory();
            memcpy(both.at, w, n_ended * sizeof *w);
            both.at[n_ended] = rest;
            int rc = add_side_by_side(p, both.at, n_ended + 1, shared, out);
            lt_free(both.at);
            LT_TRY(rc);
        }
    }
    return add_chain(p, w->text, depth, shared, out);
}

int lt_program_add_words(lt_program *p, lt_word *words, uint32_t n, uint32_t *out)
{
    qsort(words, n, sizeof *words, by_text);
    return add_tree(p, words, n, 0, 0, out);
}
