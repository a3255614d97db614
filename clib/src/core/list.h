/* list.h - arrays that grow: LT_LIST(type) is a struct with .at[0 .. n) and room for cap items.  Zeroed, it is empty;
 * lt_free(list.at) releases it. */
#ifndef LT_LIST_H
#define LT_LIST_H

#include <stddef.h>
#include <stdint.h>

#define LT_LIST(type) \
    struct {          \
        type *at;     \
        uint32_t n, cap; \
    }

/* Room for `more` items behind the n of a list (any LT_LIST); contents are kept.  LT_E_NOMEM without a sentence. */
int lt_list_room(void *list, size_t more, size_t item_bytes);

/* True when there is room for `more` items now. */
#define LT_ROOM(list, more) \
    ((size_t)(list)->cap - (list)->n >= (more) || lt_list_room((list), (more), sizeof *(list)->at) == 0)

#endif
