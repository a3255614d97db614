/* gguf.h - an opened model file: mapped, checked, and asked by name.
 *
 * lt_gguf_open has checked every offset, count, length and product of the header before anyone sees the handle, so the
 * getters below only have to check presence and type.  Error sentences name file, key or tensor, value and limit. */
#ifndef LT_GGUF_H
#define LT_GGUF_H

#include <stdbool.h>

#include "core/status.h"
#include "gguf/mapping.h"

/* Typed metadata.  `required`: absence is LT_E_FORMAT; otherwise *out keeps its value when the key is absent.
 * Integer getters accept any integer type whose value fits; a wrong type is LT_E_FORMAT ("key K must be u32, is str"). */
int lt_gguf_get_u32(const lt_gguf *g, const char *key, bool required, uint32_t *out);
int lt_gguf_get_f32(const lt_gguf *g, const char *key, bool required, float *out);
int lt_gguf_get_bool(const lt_gguf *g, const char *key, bool required, bool *out);
/* n integers (n bools, 0 and 1): an array of that many or more, or one for all. */
int lt_gguf_get_each(const lt_gguf *g, const char *key, bool required, bool bools, uint32_t *out, int32_t n);
int lt_gguf_get_str(const lt_gguf *g, const char *key, bool required, const char **str, uint64_t *len); /* not NUL-terminated */

bool lt_gguf_has(const lt_gguf *g, const char *key);

/* Values for the getters above instead of the file's, from now on; copied.  LT_E_ARG: another kind than the file's.  The second
 * finds those that neither are in the file nor have been asked for: LT_E_ARG. */
int lt_gguf_override(lt_gguf *g, const lt_override *overrides, int32_t n);
int lt_gguf_check_overrides(const lt_gguf *g);

/* Arrays of scalars: raw little-endian items, unaligned.  *n stays and *items becomes NULL when absent. */
int lt_gguf_get_array(const lt_gguf *g, const char *key, bool required, int32_t item_type, const void **items, uint64_t *n);

/* Arrays of strings are walked: strings have no index in the file. */
typedef struct {
    const uint8_t *next, *end;
    uint64_t left;
} lt_gguf_strings;
int lt_gguf_get_strings(const lt_gguf *g, const char *key, bool required, lt_gguf_strings *out); /* out->left = 0 when absent */
bool lt_gguf_next_string(lt_gguf_strings *it, const char **str, uint64_t *len);

/* lt_gguf_open is this with LT_LOAD_MMAP. */
int lt_gguf_open_for(lt_gguf **out, const char *path, int32_t load);

/* Tensors.  The data pointer is into the mapping, aligned to 8 bytes or more, and stays until lt_gguf_close; NULL in a file
 * that is read. */
typedef struct {
    const char *name; /* NUL-terminated copy */
    uint64_t ne[4];
    uint64_t n_bytes;
    const void *data;
    int32_t type, n_dims;
} lt_tensor;
const lt_tensor *lt_gguf_find_tensor(const lt_gguf *g, const char *name); /* NULL when absent; O(1) */
const char *lt_gguf_path(const lt_gguf *g);

/* ANY THREAD.  *bytes points to n bytes of the tensor from `first` on: in the mapping, or in the buffer, into which they were
 * read (aligned to LT_READ_ALIGN, room for n + LT_READ_SLACK).  0 or an errno for lt_gguf_fail_read, which has the sentence. */
int lt_gguf_read(const lt_gguf *g, const lt_tensor *t, uint64_t first, uint64_t n, uint8_t *buffer, const uint8_t **bytes);
int lt_gguf_fail_read(const lt_gguf *g, const lt_tensor *t, int error);

/* Tells the system that these source pages will not be needed again (weights already packed). */
void lt_gguf_release(const lt_gguf *g, const lt_tensor *t);

#endif
