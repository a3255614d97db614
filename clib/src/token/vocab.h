/* vocab.h - what the engine needs of the vocabulary beyond llamatw.h. */
#ifndef LT_VOCAB_H
#define LT_VOCAB_H

#include <stdbool.h>

#include "core/status.h"

int32_t lt_vocab_size(const lt_vocab *v);

/* ANY THREAD: v lives on until lt_vocab_close has been called once more. */
void lt_vocab_hold(const lt_vocab *v);

/* Raw bytes of a token as it stands in text ("" for control tokens): not NUL-terminated, live as long as the vocabulary,
 * not necessarily valid UTF-8 (byte tokens, pieces of characters).  id must be in range. */
const char *lt_vocab_piece(const lt_vocab *v, int32_t id, uint32_t *n_bytes);

/* Incremental detokeniser: keeps the unfinished tail of a UTF-8 character between tokens. */
typedef struct {
    uint8_t pending[4];
    uint8_t n_pending;
    uint8_t started; /* a token has been fed (SPM models drop nothing in the middle of a sequence) */
} lt_utf8_stream;
/* Feeds raw bytes, writes valid UTF-8 to out (cap >= 3 * (n_bytes + 4) always suffices) and returns its length.
 * An invalid byte becomes U+FFFD; an unfinished character waits in s->pending. */
uint32_t lt_utf8_feed(lt_utf8_stream *s, const char *bytes, uint32_t n_bytes, char *out);

#endif
