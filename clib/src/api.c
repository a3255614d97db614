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
        SIZE(lt_meta),         SIZE(lt_tensor_info), SIZE(lt_vocab_info),   SIZE(lt_engine_opts), SIZE(lt_engine_info),
        SIZE(lt_engine_stats), SIZE(lt_bias),        SIZE(lt_sampling),     SIZE(lt_row),         SIZE(lt_choice),
        SIZE(lt_out),          SIZE(lt_result),      SIZE(lt_grammar_opts), SIZE(lt_override),
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
        .struct_size = sizeof *o, .n_seqs = 4, .n_batch = 512, .k_type = LT_KV_DEFAULT, .v_type = LT_KV_DEFAULT, .group_n = 1, .n_full = 1};
}

void lt_sampling_init(lt_sampling *s)
{
    static const uint8_t chain[] = {LT_SAMPLER_PENALTIES, LT_SAMPLER_DRY,        LT_SAMPLER_TOP_N_SIGMA, LT_SAMPLER_TOP_K,
                                    LT_SAMPLER_TFS_Z,     LT_SAMPLER_TYPICAL_P,  LT_SAMPLER_TOP_P,       LT_SAMPLER_MIN_P,
                                    LT_SAMPLER_XTC,       LT_SAMPLER_TEMPERATURE};
    if (!s)
        return;
    *s = (lt_sampling){.struct_size = sizeof *s,
                       .temperature = 0.8f,
                       .dynatemp_exponent = 1,
                       .top_p = 0.95f,
                       .min_p = 0.05f,
                       .tfs_z = 1,
                       .typical_p = 1,
                       .top_n_sigma = -1,
                       .xtc_threshold = 0.1f,
                       .repeat_penalty = 1.0f,
                       .dry_base = 1.75f,
                       .mirostat_tau = 5,
                       .mirostat_eta = 0.1f,
                       .adaptive_target = -1,
                       .adaptive_decay = 0.9f,
                       .top_k = 40,
                       .repeat_last_n = 64,
                       .dry_allowed_length = 2,
                       .dry_penalty_last_n = 64,
                       .n_chain = sizeof chain};
    memcpy(s->chain, chain, sizeof chain);
}
