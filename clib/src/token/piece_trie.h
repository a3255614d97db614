/* piece_trie.h - all pieces of a vocabulary as a tree of their bytes, for whoever asks "which tokens may follow?".
 *
 * Nodes lie in preorder, so a walk is one loop over an array that jumps over what it has no need of:
 *
 *      for (i = 1; i < t->n_nodes; i = goes_on(i) ? i + 1 : t->nodes[i].end) ...
 *
 * The tokens whose piece ends in node i are ids[nodes[i].first .. nodes[i + 1].first), those in its subtree
 * ids[nodes[i].first .. nodes[nodes[i].end].first).  Tokens that end generation or stand for no text are not in it. */
#ifndef LT_PIECE_TRIE_H
#define LT_PIECE_TRIE_H

#include "token/vocab.h"

enum {
    LT_TRIE_HIGH = 1, /* below it there are bytes from 0x80 on */
    LT_TRIE_UTF8 = 2, /* the way to it and every way on from it is UTF-8, perhaps cut within the last character */
    LT_TRIE_WHOLE = 4 /* the way to it is whole characters */
};

typedef struct {
    uint32_t end;   /* the node behind its subtree */
    uint32_t first; /* its first token in ids */
    uint16_t depth; /* bytes on the way to it; the root has 0 */
    uint8_t byte;
    uint8_t flags; /* LT_TRIE_* */
} lt_trie_node;

typedef struct {
    lt_trie_node *nodes;  /* [n_nodes + 1]; node 0 is the root, the last one only ends the list */
    uint64_t (*below)[3]; /* [n_nodes] bytes that occur below, one bit each: from 0, 0x40 and 0xC0 on */
    int32_t *ids;
    uint32_t *has_text; /* [ceil(n_tokens / 32)] one bit for each token in the tree */
    int32_t *eog;       /* [n_eog] tokens that end generation */
    uint32_t n_nodes, n_ids, n_eog, max_depth;
    int32_t n_tokens;
} lt_piece_trie;

int lt_piece_trie_create(lt_piece_trie **out, const lt_vocab *v);
void lt_piece_trie_free(lt_piece_trie *t);

/* ANY THREAD: the vocabulary's trie, made when it is first asked for; lives as long as the vocabulary. */
int lt_vocab_trie(const lt_vocab *v, const lt_piece_trie **out);

#endif
