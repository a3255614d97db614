/* list.c - the one way in which arrays grow: by doubling, at most 2^32 - 1 items. */
#include "core/list.h"

#include <string.h>

#include "core/memory.h"
#include "llamatw.h"

typedef LT_LIST(void) any_list;

int lt_list_room(void *list, size_t more, size_t item_bytes)
{
    any_list l;
    memcpy(&l, list, sizeof l);
    if (more > UINT32_MAX - (size_t)l.n)
        return LT_E_NOMEM;
    size_t want = l.n + more, twice = 2 * (size_t)l.cap;
    want = want > twice ? want : twice;
    want = want < 16 ? 16 : want > UINT32_MAX ? UINT32_MAX : want;
    l.at = lt_resize(l.at, want, item_bytes);
    if (!l.at)
        return LT_E_NOMEM;
    l.cap = (uint32_t)want;
    memcpy(list, &l, sizeof l);
    return LT_OK;
}
