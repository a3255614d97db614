/* traits.c - the architectures, one row each.  Facts: the configurations and code published with the models. */
#include "models/model.h"

#include <string.h>

enum { LLAMA_4 = LT_ROPE_ADJACENT | LT_ROPE_3_OF_4 | LT_WINDOW_CHUNKS | LT_QK_NORM_BARE | LT_LLAMA4_HEAT | LT_WEIGH_INPUT };
enum { GEMMA_3 = LT_EMBEDDING_SQRT | LT_POST_NORM | LT_QK_NORM | LT_WINDOW_ROPE, GPT = LT_LAYER_NORM | LT_UNGATED };

enum { QWEN_DELTA = LT_QK_NORM | LT_FFN_NORM_LATE_NAME | LT_ROUTE_NORMALISED };

static const lt_traits table[] = {
    /* Llama's own block, and with one difference or another. */
    {.arch = "llama", .is = LT_ROPE_ADJACENT | LT_ROUTE_NORMALISED | LT_WINDOW_OPTIONAL, .window_period = LT_ALL_LAYERS}, /* Mistral */
    {.arch = "mistral3", .is = LT_ROPE_ADJACENT | LT_ROUTE_NORMALISED},
    {.arch = "arcee", .is = LT_ROPE_ADJACENT | LT_UNGATED, .act = LT_RELU2},
    {.arch = "internlm2", .is = LT_ROPE_ADJACENT},
    {.arch = "baichuan", .is = LT_ROPE_NONE | LT_ALIBI, .n_layer = 40}, /* 13B */
    {.arch = "baichuan", .is = LT_ROPE_ADJACENT},
    {.arch = "xverse", .is = LT_ROPE_ADJACENT},
    {.arch = "granite", .is = LT_ROPE_ADJACENT | LT_LOGITS_DIVIDED, .route = LT_ROUTE_SOFTMAX_CHOSEN},
    {.arch = "minicpm", .is = LT_ROPE_ADJACENT | LT_LOGITS_DIVIDED | LT_MINICPM_SCALES},
    {.arch = "ernie4_5", .is = LT_ROPE_ADJACENT},
    {.arch = "smollm3", .is = LT_ROPE_ADJACENT | LT_ROPE_3_OF_4},
    {.arch = "chatglm", .is = LT_ROPE_ADJACENT},
    {.arch = "glm4", .is = LT_ROPE_ADJACENT | LT_POST_NORM},
    {.arch = "phi3", .is = LT_WINDOW_OPTIONAL, .window_period = LT_ALL_LAYERS},
    {.arch = "exaone"},
    {.arch = "openelm", .is = LT_QK_NORM},
    {.arch = "orion", .is = LT_LAYER_NORM},
    {.arch = "plamo", .is = LT_PARALLEL},
    {.arch = "refact", .is = LT_ROPE_NONE | LT_ALIBI | LT_LAYER_NORM},
    {.arch = "qwen", .is = LT_QKV_BIAS | LT_HALF_FF},
    {.arch = "qwen2", .is = LT_QKV_BIAS},
    {.arch = "qwen2vl", .is = LT_QKV_BIAS}, /* text: all position streams are equal */
    {.arch = "seed_oss", .is = LT_QKV_BIAS | LT_FFN_NORM_LATE_NAME},
    {.arch = "qwen3", .is = LT_QK_NORM},
    {.arch = "qwen3vl", .is = LT_QK_NORM},
    {.arch = "hunyuan-dense", .is = LT_QK_NORM | LT_QK_NORM_LATE},
    {.arch = "olmo", .is = LT_ROPE_ADJACENT | LT_LAYER_NORM | LT_BARE_NORM},
    {.arch = "olmo2", .is = LT_NO_PRE_NORM | LT_POST_NORM | LT_QK_NORM | LT_WINDOW_OPTIONAL | LT_WINDOW_ROPE, .window_period = 4},
    {.arch = "exaone4", .is = LT_NO_PRE_NORM | LT_POST_NORM | LT_QK_NORM | LT_WINDOW_OPTIONAL | LT_ROPE_WINDOWS, .window_period = 4},
    {.arch = "stablelm", .is = LT_LAYER_NORM | LT_PARALLEL | LT_QK_NORM}, /* parallel unless there is an ffn_norm */
    {.arch = "command-r", .is = LT_ROPE_ADJACENT | LT_LAYER_NORM | LT_PARALLEL | LT_QK_NORM},
    {.arch = "cohere2", .is = LT_ROPE_ADJACENT | LT_LAYER_NORM | LT_PARALLEL | LT_ROPE_WINDOWS, .window_period = 4},
    {.arch = "gemma", .is = LT_EMBEDDING_SQRT, .act = LT_GELU},
    {.arch = "gemma2", .is = LT_EMBEDDING_SQRT | LT_POST_NORM, .act = LT_GELU, .window_period = 2},
    {.arch = "gemma3", .is = GEMMA_3, .act = LT_GELU, .window_period = 6, .window_rope_base = 10000.0f},
    {.arch = "gemma4", .is = GEMMA_3 | LT_V_NORM | LT_UNSCALED, .act = LT_GELU, .window_period = 6, .window_rope_base = 10000.0f},

    /* Mixtures of experts, but for those that share a row with their dense relatives. */
    {.arch = "llama4", .is = LLAMA_4, .window_period = 4, .window = 8192, .route = LT_ROUTE_SIGMOID},
    {.arch = "granitemoe", .is = LT_ROPE_ADJACENT | LT_LOGITS_DIVIDED, .route = LT_ROUTE_SOFTMAX_CHOSEN},
    {.arch = "ernie4_5-moe", .is = LT_ROPE_ADJACENT | LT_ROUTE_NORMALISED},
    {.arch = "deepseek", .is = LT_ROPE_ADJACENT},
    {.arch = "deepseek2", .is = LT_ROPE_ADJACENT | LT_ROUTE_NORMALISED, .route = LT_ROUTE_SIGMOID, .n_layer = 47}, /* GLM 4.7 Flash */
    {.arch = "deepseek2", .is = LT_ROPE_ADJACENT},
    {.arch = "minicpm3", .is = LT_LOGITS_DIVIDED | LT_MINICPM_SCALES},
    {.arch = "qwen2moe", .is = LT_QKV_BIAS},
    {.arch = "qwen3moe", .is = LT_QK_NORM | LT_ROUTE_NORMALISED},
    {.arch = "qwen3vlmoe", .is = LT_QK_NORM | LT_ROUTE_NORMALISED},
    {.arch = "olmoe", .is = LT_QK_NORM},
    {.arch = "phimoe", .is = LT_LAYER_NORM, .route = LT_ROUTE_SOFTMAX_NEAR},
    {.arch = "hunyuan-moe", .is = LT_QK_NORM | LT_QK_NORM_LATE | LT_ROUTE_NORMALISED},
    {.arch = "glm4moe", .is = LT_QKV_BIAS | LT_QK_NORM | LT_QK_NORM_OPTIONAL | LT_FFN_NORM_LATE_NAME, .route = LT_ROUTE_SIGMOID},
    {.arch = "dots1", .is = LT_QK_NORM | LT_ROUTE_NORMALISED, .route = LT_ROUTE_SIGMOID},
    {.arch = "minimax-m2", .is = LT_QK_NORM | LT_ROUTE_NORMALISED, .route = LT_ROUTE_SIGMOID},
    {.arch = "exaone-moe",
     .is = LT_QK_NORM | LT_WINDOW_OPTIONAL | LT_ROPE_WINDOWS | LT_ROUTE_NORMALISED,
     .window_period = 4,
     .route = LT_ROUTE_SIGMOID},
    {.arch = "gpt-oss",
     .is = LT_QKV_BIAS | LT_FFN_NORM_LATE_NAME,
     .act = LT_SWIGLU_OAI,
     .window_period = 2,
     .route = LT_ROUTE_SOFTMAX_CHOSEN},

    /* Recurrent layers, most with some of attention between them. */
    {.arch = "mamba", .is = LT_ROPE_NONE, .mixer = LT_MIX_MAMBA},
    {.arch = "mamba2", .is = LT_ROPE_NONE, .mixer = LT_MIX_MAMBA2},
    {.arch = "jamba", .is = LT_ROPE_NONE, .mixer = LT_MIX_MAMBA},
    {.arch = "falcon-h1", .mixer = LT_MIX_MAMBA2, .mixes = LT_MIX_BESIDE},
    {.arch = "nemotron_h", .is = LT_ROPE_NONE | LT_UNGATED, .act = LT_RELU2, .mixer = LT_MIX_MAMBA2, .mixes = LT_MIX_OR_MLP},
    {.arch = "granitehybrid",
     .is = LT_ROPE_ADJACENT | LT_LOGITS_DIVIDED,
     .route = LT_ROUTE_SOFTMAX_CHOSEN,
     .mixer = LT_MIX_MAMBA2,
     .mixes = LT_MIX_ROPE_BY_FILE},
    {.arch = "lfm2", .is = LT_QK_NORM, .mixer = LT_MIX_CONV},
    {.arch = "qwen3next", .is = QWEN_DELTA, .mixer = LT_MIX_DELTA},
    {.arch = "qwen35", .is = QWEN_DELTA, .mixer = LT_MIX_DELTA, .mixes = LT_MIX_TILED}, /* text: all position streams are equal */
    {.arch = "qwen35moe", .is = QWEN_DELTA, .mixer = LT_MIX_DELTA, .mixes = LT_MIX_TILED},

    /* GPT's block: layer norm, a plain MLP. */
    {.arch = "gpt2", .is = GPT | LT_ROPE_NONE | LT_POSITIONS, .act = LT_GELU},
    {.arch = "starcoder", .is = GPT | LT_ROPE_NONE | LT_POSITIONS, .act = LT_GELU},
    {.arch = "bloom", .is = GPT | LT_ROPE_NONE | LT_ALIBI | LT_EMBEDDING_NORM, .act = LT_GELU},
    {.arch = "mpt", .is = GPT | LT_ROPE_NONE | LT_ALIBI, .act = LT_GELU_ERF},
    {.arch = "starcoder2", .is = GPT, .act = LT_GELU},
    {.arch = "codeshell", .is = GPT, .act = LT_GELU},
    {.arch = "gptneox", .is = GPT | LT_PARALLEL, .act = LT_GELU_ERF}, /* parallel if use_parallel_residual */
    {.arch = "gptj", .is = GPT | LT_PARALLEL | LT_ROPE_ADJACENT, .act = LT_GELU},
    {.arch = "phi2", .is = GPT | LT_PARALLEL, .act = LT_GELU},
    {.arch = "falcon", .is = GPT | LT_PARALLEL, .act = LT_GELU_ERF},
    {.arch = "nemotron", .is = GPT, .act = LT_RELU2},
    {.arch = "jais2", .is = GPT, .act = LT_RELU2},
};

const lt_traits *lt_traits_find(const char *arch, int32_t n_layer)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].arch, arch) && (!table[i].n_layer || table[i].n_layer == n_layer))
            return &table[i];
    return NULL;
}
