/* pretokens.c - the names models give their pretokenisers, and the walk through a list of splitters. */
#include "token/pretokens.h"

#include <string.h>

#define ROW(names, flags, splitters) {names, flags, splitters, (int32_t)(sizeof splitters / sizeof *splitters)}

static const lt_pretokenizer known[] = {
    ROW("default", 0, lt_pre_default),
    ROW("falcon", 0, lt_pre_falcon),

    ROW("llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", LT_PRE_WHOLE | LT_PRE_BOS, lt_pre_llama3),
    ROW("dbrx smaug-bpe chatglm-bpe", 0, lt_pre_llama3),
    ROW("glm4 glm5", LT_PRE_WHOLE, lt_pre_llama3),
    ROW("jais-2", 0, lt_pre_jais2),

    ROW("qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", 0, lt_pre_qwen2),
    ROW("bailingmoe bailingmoe2 llada-moe", 0, lt_pre_qwen2),
    ROW("qwen35", 0, lt_pre_qwen35),
    ROW("seed-coder", 0, lt_pre_seed_coder),
    ROW("exaone-moe", 0, lt_pre_exaone_moe),
    ROW("ufakzeka", 0, lt_pre_ufakzeka),
    ROW("laguna", 0, lt_pre_laguna),
    ROW("minicpm5", LT_PRE_WHOLE, lt_pre_minicpm5),

    ROW("gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert exaone4", 0, lt_pre_gpt2),
    ROW("mpt olmo jais trillion granite-docling", 0, lt_pre_gpt2),
    ROW("jina-v1-en jina-v2-code roberta-bpe", LT_PRE_SEP, lt_pre_gpt2),
    ROW("starcoder refact codeshell exaone minerva-7b mellum2 command-r smollm", 0, lt_pre_starcoder),
    ROW("chameleon", LT_PRE_BOS, lt_pre_chameleon),

    ROW("tekken", LT_PRE_WHOLE | LT_PRE_BOS, lt_pre_tekken),
    ROW("gpt-4o llama4 kanana2 talkie minimax-m2", 0, lt_pre_gpt4o),
    ROW("granite-embed-multi-97m", LT_PRE_WHOLE, lt_pre_gpt4o),
    ROW("kimi-k2", LT_PRE_RANKED, lt_pre_kimi),
    ROW("youtu", LT_PRE_WHOLE, lt_pre_youtu),

    ROW("superbpe", 0, lt_pre_superbpe),
    ROW("tiny_aya cohere2moe", 0, lt_pre_tiny_aya),
    ROW("afmoe", 0, lt_pre_afmoe),

    ROW("deepseek-llm", 0, lt_pre_deepseek_llm),
    ROW("deepseek-coder", 0, lt_pre_deepseek_coder),
    ROW("deepseek-v3 joyai-llm hunyuan-dense hy_v4", 0, lt_pre_deepseek3),
    ROW("spark2_5", 0, lt_pre_spark),

    ROW("gemma4", LT_PRE_CHARS | LT_PRE_SPACED | LT_PRE_LINES | LT_PRE_SURE_BOS, lt_pre_lines),
    ROW("granite-embed-multi-311m sarvam-moe", LT_PRE_CHARS | LT_PRE_SPACED | LT_PRE_LINES, lt_pre_lines),
    ROW("bloom gpt3-finnish poro-chat", 0, lt_pre_bloom),
    ROW("viking", 0, lt_pre_viking),
    ROW("whitespace", LT_PRE_CHARS | LT_PRE_NO_SPACES, lt_pre_whitespace),
};

bool lt_is_one_of(const char *words, const char *name, size_t n)
{
    for (const char *at = words; n > 0 && *at; at += strcspn(at, " "), at += *at == ' ')
        if (strcspn(at, " ") == n && memcmp(at, name, n) == 0)
            return true;
    return false;
}

const lt_pretokenizer *lt_pretokenizer_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (lt_is_one_of(known[i].names, name, n))
            return &known[i];
    return NULL;
}

void lt_piece_walk_start(lt_piece_walk *w, const lt_pretokenizer *pre, const lt_rune *r, uint32_t n)
{
    w->pre = pre;
    w->r = r;
    w->depth = 0;
    w->at[0] = 0;
    w->end[0] = n;
}

bool lt_piece_walk_next(lt_piece_walk *w, uint32_t *from, uint32_t *to)
{
    while (w->depth >= 0) {
        int32_t d = w->depth;
        uint32_t at = w->at[d];
        if (at == w->end[d]) {
            w->depth--;
            continue;
        }
        uint32_t end = w->pre->splitters[d](w->r, at, w->end[d]);
        w->at[d] = end;
        if (d + 1 == w->pre->n_splitters) {
            *from = at;
            *to = end;
            return true;
        }
        w->depth++;
        w->at[d + 1] = at;
        w->end[d + 1] = end;
    }
    return false;
}
