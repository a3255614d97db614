/* special.c - the trie of the texts that are found before the text is cut into pieces: control, unknown and user-defined
 * tokens.  A text that several tokens share means the last of them. */
#include <string.h>

#include "core/memory.h"
#include "token/vocab_data.h"

static bool is_special(const lt_vocab *v, int32_t id)
{
    return v->type[id] == LT_TYPE_CONTROL || v->type[id] == LT_TYPE_UNKNOWN || v->type[id] == LT_TYPE_USER;
}

static uint32_t new_node(lt_special_trie *t, uint8_t byte, uint32_t sibling)
{
    t->nodes[t->n_nodes] = (lt_special_node){.sibling = sibling, .id = -1, .byte = byte};
    return t->n_nodes++;
}

/* The child for that byte, made when it is missing. */
static uint32_t child_of(lt_special_trie *t, uint32_t node, uint8_t byte)
{
    for (uint32_t c = t->nodes[node].child; c; c = t->nodes[c].sibling)
        if (t->nodes[c].byte == byte)
            return c;
    uint32_t c = new_node(t, byte, t->nodes[node].child);
    t->nodes[node].child = c;
    return c;
}

static void insert(lt_special_trie *t, const uint8_t *text, uint32_t n, int32_t id, bool user)
{
    uint32_t node = t->first[text[0]];
    if (!node)
        node = t->first[text[0]] = new_node(t, text[0], 0);
    for (uint32_t i = 1; i < n; i++)
        node = child_of(t, node, text[i]);
    t->nodes[node].id = id;
    t->nodes[node].user = user;
    t->begins[0][text[0]] |= user;
    t->begins[1][text[0]] = 1;
}

int lt_specials_build(lt_vocab *v)
{
    size_t n_nodes = 1;
    uint32_t n;
    for (int32_t id = 0; id < v->info.n_tokens; id++)
        if (is_special(v, id)) {
            lt_piece(v, id, &n);
            n_nodes += n; /* at most the bytes of the arena, which has less than 4 GiB */
        }
    v->specials.nodes = lt_alloc(n_nodes, sizeof *v->specials.nodes);
    if (!v->specials.nodes)
        return lt_fail(LT_E_NOMEM, "no memory for the special tokens of the vocabulary");
    new_node(&v->specials, 0, 0); /* number 0 means "none" */
    for (int32_t id = 0; id < v->info.n_tokens; id++) {
        const uint8_t *text = lt_piece(v, id, &n);
        if (n && is_special(v, id))
            insert(&v->specials, text, n, id, v->type[id] == LT_TYPE_USER);
    }
    return LT_OK;
}

uint32_t lt_special_at(const lt_special_trie *t, bool any, const uint8_t *text, size_t n, int32_t *id)
{
    uint32_t longest = 0, node = n ? t->first[text[0]] : 0;
    for (uint32_t i = 1; node; i++) {
        const lt_special_node *found = &t->nodes[node];
        if (found->id >= 0 && (any || found->user)) {
            longest = i;
            *id = found->id;
        }
        if (i == n)
            break;
        for (node = found->child; node && t->nodes[node].byte != text[i]; node = t->nodes[node].sibling)
            continue;
    }
    return longest;
}
