/* utf8_stream.c - the incremental detokeniser: bytes of token pieces in, valid UTF-8 out.
 *
 * A broken sequence becomes one U+FFFD for each maximal part that could have begun a character, as browsers do it. */
#include <string.h>

#include "token/vocab.h"

static unsigned length_of(uint8_t lead)
{
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* May b be byte number n of a character that starts with `lead`? */
static bool continues(uint8_t lead, unsigned n, uint8_t b)
{
    uint8_t low = 0x80, high = 0xBF;
    if (n == 1) { /* overlong forms, surrogates and U+110000 up are told by the second byte */
        low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : low;
        high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : high;
    }
    return b >= low && b <= high;
}

static char *put_replacement(char *out)
{
    memcpy(out, "\xEF\xBF\xBD", 3);
    return out + 3;
}

uint32_t lt_utf8_feed(lt_utf8_stream *s, const char *bytes, uint32_t n_bytes, char *out)
{
    char *p = out;
    s->started |= n_bytes > 0;
    for (uint32_t i = 0; i < n_bytes; i++) {
        uint8_t b = (uint8_t)bytes[i];
        if (s->n_pending && !continues(s->pending[0], s->n_pending, b)) {
            p = put_replacement(p);
            s->n_pending = 0;
        }
        if (s->n_pending || (b >= 0xC2 && b <= 0xF4)) {
            s->pending[s->n_pending++] = b;
            if (s->n_pending == length_of(s->pending[0]) && s->n_pending > 1) {
                memcpy(p, s->pending, s->n_pending);
                p += s->n_pending;
                s->n_pending = 0;
            }
        } else if (b < 0x80) {
            *p++ = (char)b;
        } else {
            p = put_replacement(p);
        }
    }
    return (uint32_t)(p - out);
}
