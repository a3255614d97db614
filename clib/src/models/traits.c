/* traits.c - the architectures, one row each.  Facts: the configurations published with the models. */
#include "models/model.h"

#include <string.h>

static const lt_traits table[] = {
    {.arch = "llama", .rope_adjacent = true},
    {.arch = "qwen2", .qkv_bias = true},
    {.arch = "qwen3", .qk_norm = true},
    {.arch = "gemma3",
     .qk_norm = true,
     .post_norms = true,
     .scale_embedding = true,
     .gelu = true,
     .window_period = 6,
     .window_rope_base = 10000.0f},
};

const lt_traits *lt_traits_find(const char *arch, uint64_t len)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strlen(table[i].arch) == len && !memcmp(table[i].arch, arch, len))
            return &table[i];
    return NULL;
}
