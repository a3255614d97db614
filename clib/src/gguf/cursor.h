/* cursor.h - reading forward through bytes that nobody vouches for: each read says whether it fitted. */
#ifndef LT_CURSOR_H
#define LT_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const uint8_t *at, *end;
} lt_cursor;

typedef struct {
    const uint8_t *bytes; /* not NUL-terminated */
    uint64_t len;
} lt_bytes;

static inline uint16_t lt_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t lt_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t lt_le64(const uint8_t *p)
{
    return lt_le32(p) | (uint64_t)lt_le32(p + 4) << 32;
}

static inline uint64_t lt_left(const lt_cursor *c)
{
    return (uint64_t)(c->end - c->at);
}

static inline bool lt_skip(lt_cursor *c, uint64_t n)
{
    if (n > lt_left(c))
        return false;
    c->at += n;
    return true;
}

static inline bool lt_read_u32(lt_cursor *c, uint32_t *out)
{
    const uint8_t *p = c->at;
    if (!lt_skip(c, 4))
        return false;
    *out = lt_le32(p);
    return true;
}

static inline bool lt_read_u64(lt_cursor *c, uint64_t *out)
{
    const uint8_t *p = c->at;
    if (!lt_skip(c, 8))
        return false;
    *out = lt_le64(p);
    return true;
}

/* A GGUF string: u64 length, then that many bytes.  On failure out->len still tells the length that did not fit, 0 when
 * there was none to read. */
static inline bool lt_read_str(lt_cursor *c, lt_bytes *out)
{
    out->len = 0;
    if (!lt_read_u64(c, &out->len))
        return false;
    out->bytes = c->at;
    return lt_skip(c, out->len);
}

#endif
