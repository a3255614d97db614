/* pretokens.c - the names models give their pretokenisers, and the walk through a list of splitters. */
#include "token/pretokens.h"

#include <string.h>

#define ROW(name, flags, splitters) {name, flags, splitters, (int32_t)(sizeof splitters / sizeof *splitters)}

/* Names that share a row's splitters and flags are exact aliases. */
static const lt_pretokenizer known[] = {
    ROW("default", 0, lt_split_default),
    ROW("falcon", 0, lt_split_falcon),
    ROW("deepseek-llm", 0, lt_split_deepseek_llm),

    ROW("llama-bpe", LT_PRE_WHOLE | LT_PRE_BOS, lt_split_llama3),
    ROW("llama3", LT_PRE_WHOLE | LT_PRE_BOS, lt_split_llama3),
    ROW("llama-v3", LT_PRE_WHOLE | LT_PRE_BOS, lt_split_llama3),
    ROW("falcon3", LT_PRE_WHOLE | LT_PRE_BOS, lt_split_llama3),
    ROW("falcon-h1", LT_PRE_WHOLE | LT_PRE_BOS, lt_split_llama3),
    ROW("pixtral", LT_PRE_WHOLE | LT_PRE_BOS, lt_split_llama3),
    ROW("midm-2.0", LT_PRE_WHOLE | LT_PRE_BOS, lt_split_llama3),
    ROW("lfm2", LT_PRE_WHOLE | LT_PRE_BOS, lt_split_llama3),
    ROW("dbrx", 0, lt_split_llama3),
    ROW("smaug-bpe", 0, lt_split_llama3),

    ROW("qwen2", 0, lt_split_qwen2),
    ROW("deepseek-r1-qwen", 0, lt_split_qwen2),
    ROW("kormo", 0, lt_split_qwen2),
    ROW("megrez", 0, lt_split_qwen2),
    ROW("stablelm2", 0, lt_split_qwen2),
    ROW("hunyuan", 0, lt_split_qwen2),
    ROW("solar-open", 0, lt_split_qwen2),
    ROW("grok-2", 0, lt_split_qwen2),

    ROW("gpt-2", 0, lt_split_gpt2),
    ROW("phi-2", 0, lt_split_gpt2),
    ROW("gigachat", 0, lt_split_gpt2),
    ROW("a.x-4.0", 0, lt_split_gpt2),
    ROW("mellum", 0, lt_split_gpt2),
    ROW("exaone4", 0, lt_split_gpt2),
    ROW("mpt", 0, lt_split_gpt2),
    ROW("olmo", 0, lt_split_gpt2),
    ROW("jais", 0, lt_split_gpt2),
    ROW("trillion", 0, lt_split_gpt2),
    ROW("granite-docling", 0, lt_split_gpt2),

    ROW("starcoder", 0, lt_split_starcoder),
    ROW("refact", 0, lt_split_starcoder),
    ROW("codeshell", 0, lt_split_starcoder),
    ROW("exaone", 0, lt_split_starcoder),
    ROW("minerva-7b", 0, lt_split_starcoder),
    ROW("mellum2", 0, lt_split_starcoder),
    ROW("command-r", 0, lt_split_starcoder),
    ROW("smollm", 0, lt_split_starcoder),
};

const lt_pretokenizer *lt_pretokenizer_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == n && memcmp(known[i].name, name, n) == 0)
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
