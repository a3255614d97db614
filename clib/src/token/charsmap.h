/* charsmap.h - SentencePiece's compiled normalisation: from characters, or runs of them, to texts. */
#ifndef LT_CHARSMAP_H
#define LT_CHARSMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A trie in the layout of the darts-clone library, and the texts its leaves point at. */
typedef struct {
    uint32_t *units;
    uint32_t n_units; /* 0: nothing is mapped */
    uint8_t *texts;   /* [n_texts] each ends in 0, the last one too */
    uint32_t n_texts;
    bool plain[128]; /* of ASCII: stays as it is in front of another of ASCII */
} lt_charsmap;

/* Copies the blob of a file.  LT_E_FORMAT: sizes that do not fit, or a text of more than 255 bytes; the sentence begins with `path`. */
int lt_charsmap_load(lt_charsmap *m, const char *path, const uint8_t *blob, uint64_t n);
void lt_charsmap_free(lt_charsmap *m);

/* Bytes of the longest mapped text at the start of text[0..n), 0: none; what it becomes: out[0..n_out). */
size_t lt_charsmap_find(const lt_charsmap *m, const uint8_t *text, size_t n, const uint8_t **out, size_t *n_out);

#endif
