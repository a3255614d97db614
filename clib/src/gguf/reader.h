/* reader.h - what an opened model file consists of; private to gguf/.
 *
 *      part (one file):  header | key-value pairs | tensor directory | padding | data
 *                                 meta.c            directory.c
 *      model (lt_gguf):  part 0 [ part 1 ... of a split model, split.c ]; metadata is that of part 0, tensors those of all
 */
#ifndef LT_READER_H
#define LT_READER_H

#include "gguf/cursor.h"
#include "gguf/gguf.h"
#include "gguf/mapping.h"
#include "gguf/names.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are little-endian, and their numbers are used as they lie there"
#endif

enum { LT_U8, LT_I8, LT_U16, LT_I16, LT_U32, LT_I32, LT_FLOAT32, LT_BOOL, LT_STR, LT_ARRAY, LT_U64, LT_I64, LT_FLOAT64, LT_N_META_TYPES };

enum {
    LT_HEADER_BYTES = 24,
    LT_MAX_PAIRS = 1 << 16,
    LT_MAX_TENSORS = 1 << 18,
    LT_MAX_KEY = 65535,
    LT_MAX_STRING = 64 << 20,
    LT_MAX_TENSOR_NAME = 63,
    LT_MAX_PARTS = 1024,
    LT_MARK_EVERY = 64
};

typedef struct {
    const uint8_t *key;
    const uint8_t *value;  /* arrays: the first item */
    const uint8_t **marks; /* string arrays: where items 0, 64, 128, ... start, so that any item is at most 63 steps away */
    uint64_t n_items;      /* arrays */
    uint32_t key_len;
    int16_t type, item_type;
} lt_pair;

typedef struct { /* an overridden value */
    lt_pair pair;
    uint8_t *bytes;
    bool in_file, asked;
} lt_forced;

typedef struct {
    lt_mapping map;
    lt_forced *forced;
    lt_pair *pairs;
    lt_names keys;
    const uint8_t *directory; /* first tensor record */
    const uint8_t *data;      /* where offsets count from; NULL until the directory is read */
    uint32_t version, n_pairs, n_tensors, alignment, n_forced;
} lt_part;

typedef struct {
    lt_tensor tensor;
    uint64_t offset;
    int32_t part;
    char name[LT_MAX_TENSOR_NAME + 1];
} lt_entry;

struct lt_gguf {
    lt_part *parts;
    lt_entry *tensors;
    lt_names names;
    uint32_t n_parts, n_tensors;
    int32_t load; /* LT_LOAD_* */
};

/* meta.c */
int lt_meta_read(lt_part *part, lt_cursor *c); /* c: past the header; afterwards at the tensor directory */
void lt_meta_free(lt_part *part);
const lt_pair *lt_meta_find(const lt_part *part, const char *key); /* NULL when absent */
int lt_meta_u32(const lt_part *part, const char *key, bool required, uint32_t *out);
void lt_meta_scalar(int32_t type, const uint8_t *value, lt_meta *out); /* fills type and i, f or str from checked bytes */
uint64_t lt_meta_type_size(int32_t type);                              /* bytes of a value; 0: string or array */
const char *lt_meta_type_name(int32_t type);
bool lt_name_is_text(lt_bytes name); /* valid UTF-8 without NUL */

/* override.c */
const lt_pair *lt_forced_find(const lt_part *part, const char *key); /* NULL when the key is not overridden */
void lt_forced_free(lt_part *part);

/* part.c */
int lt_part_open(lt_part *part, const char *path, int32_t load); /* `part` fit for lt_part_close in every case */
void lt_part_close(lt_part *part);

/* split.c */
int lt_split_open(lt_gguf *g); /* g has part 0; adds the others that it asks for */

/* directory.c */
int lt_directory_read(lt_gguf *g);

#endif
