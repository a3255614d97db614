/* rwkv.c - RWKV's tokenizer: always the longest token that the rest of the text begins with. */
#include "token/encoding.h"

int lt_rwkv_encode(lt_encoding *e, const uint8_t *text, size_t n)
{
    const lt_prefix_map *m = &e->v->prefixes;
    for (size_t at = 0; at < n;) {
        int32_t longest = e->v->byte_id[text[at]];
        size_t end = at + 1;
        uint32_t node = 0;
        for (size_t i = at; i < n; i++) {
            const lt_prefix_slot *edge = lt_prefix_edge(m, node, text[i]);
            if (!edge->child)
                break;
            node = edge->child;
            if (edge->id >= 0) {
                longest = edge->id;
                end = i + 1;
            }
        }
        LT_TRY(lt_encoding_push(e, longest >= 0 ? longest : e->v->info.unk));
        at = end;
    }
    return LT_OK;
}
