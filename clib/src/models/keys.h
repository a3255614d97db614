/* keys.h - a model's numbers from its metadata: `<architecture>.<name>`, each within a stated range. */
#ifndef LT_KEYS_H
#define LT_KEYS_H

#include "gguf/gguf.h"

typedef struct {
    const lt_gguf *g;
    const char *arch;
    char key[128];
} lt_keys;

bool lt_keys_have(lt_keys *k, const char *name);

/* *out keeps its value when the key is absent and not required.  Errors name file, key, value and limits. */
int lt_key_count(lt_keys *k, const char *name, bool required, int32_t low, int32_t high, int32_t *out);
int lt_key_number(lt_keys *k, const char *name, bool required, double low, double high, float *out); /* never NaN */
int lt_key_flag(lt_keys *k, const char *name, bool *out);
int lt_key_flags(lt_keys *k, const char *name, int32_t *out, int32_t n); /* 0 or 1 for each of n layers */

/* One number for each of n layers: an array, or a scalar that holds for all. */
int lt_key_counts(lt_keys *k, const char *name, bool required, int32_t low, int32_t high, int32_t *out, int32_t n);

#endif
