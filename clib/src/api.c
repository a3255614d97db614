/* api.c - the ABI's small change: version, struct sizes, defaults. */
#include "llamatw.h"

#include <string.h>

#include "engine.h"

int32_t lt_abi_version(void)
{
    return LT_ABI_VERSION;
}

int64_t lt_sizeof(const char *struct_name)
{
    static const struct {
        const char *name;
        int64_t size;
    } sizes[] = {
#define SIZE(type) {#type, (int64_t)sizeof(type)}
        SIZE(lt_meta),     SIZE(lt_tensor_info), SIZE(lt_vocab_info), SIZE(lt_engine_opts), SIZE(lt_engine_info),  SIZE(lt_engine_stats),
        SIZE(lt_sampling), SIZE(lt_row),         SIZE(lt_out),        SIZE(lt_result),      SIZE(lt_grammar_opts),
    };
    for (size_t i = 0; struct_name && i < sizeof sizes / sizeof *sizes; i++)
        if (!strcmp(sizes[i].name, struct_name))
            return sizes[i].size;
    return -1;
}

void lt_engine_opts_init(lt_engine_opts *o)
{
    if (!o)
        return;
    *o = (lt_engine_opts){
        .struct_size = sizeof *o, .n_seqs = 4, .n_batch = 512, .k_type = LT_KV_DEFAULT, .v_type = LT_KV_DEFAULT, .group_n = 1};
}

void lt_sampling_init(lt_sampling *s)
{
    if (s)
        *s = (lt_sampling){.struct_size = sizeof *s,
                           .temperature = 0.8f,
                           .top_p = 0.95f,
                           .min_p = 0.05f,
                           .repeat_penalty = 1.0f,
                           .top_k = 40,
                           .repeat_last_n = 64};
}
