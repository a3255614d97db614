/* status.h - how a call fails: a negative LT_E_* and one sentence for this thread.
 *
 *     if (n > cap) return lt_fail(LT_E_LIMIT, "%s: key %s is %" PRIu64 ", limit %d", path, key, n, cap);
 *     LT_TRY(lt_gguf_open(&g, path));
 */
#ifndef LT_STATUS_H
#define LT_STATUS_H

#include "llamatw.h"

/* Formats the message (cut at 511 bytes; bytes outside printable ASCII shown as "?") and returns `code`. */
int lt_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

#define LT_TRY(call)                    \
    do {                                \
        int lt_try_rc_ = (call);        \
        if (lt_try_rc_ < 0)             \
            return lt_try_rc_;          \
    } while (0)

#endif
