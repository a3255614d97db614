/* vocab_data.h - what an lt_vocab is made of, for the files of this folder only.
 *
 * All text lies in one arena; a token is a stretch of it.  What lies there is the token's piece, the bytes it stands for:
 *
 *      kind           type                         stored in the file     piece
 *      BPE            normal, unused               "Ġthe" (byte map)      " the"
 *      SPM, WPM, UGM  normal, unused, user-defined "▁the"                 " the"       (▁ U+2581 and a space are one and the same)
 *      RWKV           normal, unused, user-defined "\\n\\xff"             "\n\xff"
 *      all            byte                         "<0x0A>"               "\n"
 *      all            all others                   "<|im_end|>"           "<|im_end|>"
 *
 * A BPE vocabulary of characters (`by_chars`) stores them as they are, or with ▁ (`spaced`).  In WPM a piece with a space in
 * front begins a word, all others go on with one.
 *
 * Encoding looks tokens up by piece.  Only keyed tokens are found that way: never control, unknown or byte tokens, nor in BPE
 * user-defined ones and texts that are not in the byte map, nor in SPM texts with a real space (they could not come about).
 * A piece that several tokens share is encoded as the last of them. */
#ifndef LT_VOCAB_DATA_H
#define LT_VOCAB_DATA_H

#include <pthread.h>
#include <stdatomic.h>

#include "gguf/gguf.h"
#include "token/charsmap.h"
#include "token/piece_trie.h"
#include "token/prefix_map.h"
#include "token/pretokens.h"
#include "token/vocab.h"

enum { LT_KIND_SPM = 1, LT_KIND_BPE, LT_KIND_WPM, LT_KIND_UGM, LT_KIND_RWKV };
enum { LT_TYPE_NORMAL = 1, LT_TYPE_UNKNOWN, LT_TYPE_CONTROL, LT_TYPE_USER, LT_TYPE_UNUSED, LT_TYPE_BYTE };
enum { LT_MARK_EOG = 1, LT_MARK_KEYED = 2, LT_MARK_STRIP = 4 /* white space behind it is dropped */, LT_MARK_STRIP_BEFORE = 8 };
enum { LT_MAX_TOKEN_BYTES = 4096, LT_MAX_PREFIX_BYTES = 256 /* of a keyed token in a prefix map */, LT_MAX_TOKENS = 1 << 24, LT_MAX_MERGES = 1 << 25 };

/* piece -> id: open addressing, linear probes, at most half full. */
typedef struct {
    uint32_t tag; /* high half of the hash */
    int32_t id;   /* -1: free */
} lt_piece_slot;
typedef struct {
    lt_piece_slot *slots;
    uint32_t mask;
    uint32_t max_bytes; /* longest keyed piece */
} lt_piece_map;

/* (left id, right id) -> the token they merge into; the lower the rank, the sooner. */
typedef struct {
    int32_t left, right; /* left -1: free */
    uint32_t rank;
    int32_t id;
} lt_merge_slot;
typedef struct {
    lt_merge_slot *slots;
    uint32_t mask;
} lt_merge_map;

/* Texts that are cut out before anything else: a trie of their bytes. */
typedef struct {
    uint32_t child, sibling; /* 0: none */
    int32_t id;              /* -1: no text ends here */
    uint8_t byte;
    uint8_t user; /* that token is user-defined: found without LT_TOK_PARSE_SPECIAL too */
} lt_special_node;
typedef struct {
    lt_special_node *nodes; /* node 0 is the root */
    uint32_t n_nodes;
    uint32_t first[256];    /* child of the root by byte */
    uint8_t begins[2][256]; /* may a text begin with that byte: [0] user-defined only, [1] any */
} lt_special_trie;

struct lt_vocab {
    lt_vocab_info info;
    char *text;         /* the arena */
    uint32_t *text_at;  /* [n_tokens + 1] */
    uint8_t *type;      /* [n_tokens] LT_TYPE_* */
    uint8_t *marks;     /* [n_tokens] LT_MARK_* */
    uint32_t *priority; /* [n_tokens] order of merging by what comes of it, lower first: SPM, BPE without merges; else NULL */
    lt_piece_map pieces;
    lt_merge_map merges;    /* BPE */
    lt_prefix_map prefixes; /* WPM, UGM, RWKV: the keyed tokens */
    float *score;           /* UGM [n_tokens] */
    double unknown_score;   /* UGM: of a character without token */
    lt_charsmap charsmap;   /* UGM */
    bool by_chars;          /* SPM, BPE: symbols are characters, not bytes */
    bool spaced;            /* the file spells a space as U+2581 */
    bool collapse_spaces;   /* UGM: one space for several, none at the ends */
    bool space_suffix;      /* UGM: the space that is added stands behind */
    bool lower, unaccent;   /* WPM: letters lose case and accents */
    lt_special_trie specials;
    const lt_pretokenizer *pre; /* BPE */
    int32_t byte_id[256];       /* -1: no token for that byte */
    uint8_t joins[65536 / 8];   /* bit (a << 8 | b): some keyed piece has byte b right behind byte a */
    _Atomic int32_t n_holders;  /* who opened it, and the grammars over it: the last to leave frees it */
    pthread_mutex_t trie_lock;
    _Atomic(lt_piece_trie *) trie; /* NULL until lt_vocab_trie has been asked */
};

static inline const uint8_t *lt_piece(const lt_vocab *v, int32_t id, uint32_t *n)
{
    *n = v->text_at[id + 1] - v->text_at[id];
    return (const uint8_t *)v->text + v->text_at[id];
}

/* tokens.c */
int lt_tokens_load(lt_vocab *v, const lt_gguf *g);

/* roles.c: tokens known by their text. */
enum { LT_N_ROLES = 40 };
int lt_role_find(const char *text, uint64_t n, int stored_type); /* number of the known text, -1: none */
int lt_role_type(int role);                                      /* LT_TYPE_* that such a token has, whatever the file says */
int lt_roles_load(lt_vocab *v, const lt_gguf *g, const int32_t role_ids[LT_N_ROLES]);

/* piece_map.c */
int lt_pieces_build(lt_vocab *v);
int32_t lt_pieces_find(const lt_vocab *v, const uint8_t *text, size_t n); /* -1: no keyed token */

/* prefix_map.c */
int lt_prefixes_build(lt_vocab *v);

/* merge_map.c */
int lt_merges_build(lt_vocab *v, const lt_gguf *g);
const lt_merge_slot *lt_merges_find(const lt_merge_map *m, int32_t left, int32_t right); /* NULL: they do not merge */

/* text_forms.c: pieces from the texts of a file, n bytes at most. */
bool lt_copy_spaced(uint8_t *out, const char *text, size_t n, size_t *n_out); /* U+2581 as a space; false: a real space is in it */
size_t lt_copy_unescaped(uint8_t *out, const char *text, size_t n);           /* \n \t \r \xFF, of other characters themselves */

int lt_parse_byte(const char *text, uint64_t n);                              /* "<0xXX>" -> XX, -1: anything else */

/* byte_map.c: GPT-2's printable stand-ins for bytes. */
bool lt_byte_map_decode(const uint8_t *text, size_t n, uint8_t *out, size_t *n_out); /* false: not all in the map */

/* special.c */
int lt_specials_build(lt_vocab *v);
/* Bytes of the longest special text at the start of text[0..n), 0: none.  any: of all of them, else of user-defined ones. */
uint32_t lt_special_at(const lt_special_trie *t, bool any, const uint8_t *text, size_t n, int32_t *id);

#endif
