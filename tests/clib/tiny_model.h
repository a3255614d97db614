/* tiny_model.h - a whole llama model of 40 kB (two layers of 32, 262 tokens) written to a file, with any number or shape wrong. */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include "gguf_build.h"

enum { TINY_EMBD = 32, TINY_FF = 64, TINY_VOCAB = 262, TINY_LAYERS = 2, TINY_CTX = 512 };

typedef struct { /* what to change */
    const char *key;     /* metadata key to replace ("llama.block_count") or tensor name ("blk.0.attn_q.weight") */
    uint32_t type;       /* GGUF type of the new value, or 99: leave the key or tensor out */
    union { uint32_t u; float f; uint64_t wide; } value;
    uint64_t ne[2];      /* tensor: new shape */
    uint16_t scale;      /* tensor: half used as every block's scale; 0: the usual */
} tiny_change;

enum { LEAVE_OUT = 99 };

static inline int tiny_changed(const tiny_change *c, const char *name)
{
    return c && c->key && !strcmp(c->key, name);
}

static inline void tiny_number(gguf_build *b, const tiny_change *c, const char *key, uint32_t type, const void *value)
{
    if (!tiny_changed(c, key))
        put_pair(b, key, type, value, 4);
    else if (c->type == LEAVE_OUT)
        put_pair_str(b, "general.left_out", key);
    else if (c->type == 8)
        put_pair_str(b, key, "text");
    else
        put_pair(b, key, c->type, &c->value, c->type == 10 || c->type == 11 || c->type == 12 ? 8 : c->type <= 1 || c->type == 7 ? 1 : c->type <= 3 ? 2 : 4);
}

static inline void tiny_metadata(gguf_build *b, const tiny_change *c)
{
    static const struct { const char *key; uint32_t value; } counts[] = {
        {"llama.block_count", TINY_LAYERS}, {"llama.embedding_length", TINY_EMBD}, {"llama.feed_forward_length", TINY_FF},
        {"llama.context_length", TINY_CTX}, {"llama.attention.head_count", 2}, {"llama.attention.head_count_kv", 1},
        {"llama.rope.dimension_count", 16}, {"llama.vocab_size", TINY_VOCAB}, {"tokenizer.ggml.bos_token_id", 1},
        {"tokenizer.ggml.eos_token_id", 2}, {"tokenizer.ggml.unknown_token_id", 0},
    };
    put_pair_str(b, "general.architecture", "llama");
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        tiny_number(b, c, counts[i].key, 4, &counts[i].value);
    tiny_number(b, c, "llama.attention.layer_norm_rms_epsilon", 6, &(float){1e-5f});
    tiny_number(b, c, "llama.rope.freq_base", 6, &(float){10000.0f});
    put_pair_str(b, "tokenizer.ggml.model", "llama");
    put_array(b, "tokenizer.ggml.tokens", 8, TINY_VOCAB);
    char text[16];
    for (int i = 0; i < TINY_VOCAB; i++) {
        snprintf(text, sizeof text, i < 3 ? (const char *[]){"<unk>", "<s>", "</s>"}[i] : i < 259 ? "<0x%02X>" : "ab%d", i < 259 ? i - 3 : i);
        put_str(b, text);
    }
    put_array(b, "tokenizer.ggml.scores", 6, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++)
        put(b, &(float){(float)-i}, 4);
    put_array(b, "tokenizer.ggml.token_type", 5, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++)
        put_u32(b, i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
}

typedef struct {
    char name[48];
    uint64_t ne[2];
    int vector; /* F32, one dimension */
} tiny_tensor;

static inline int tiny_tensors(tiny_tensor *t, const tiny_change *c)
{
    static const struct { const char *part; uint64_t ne0, ne1; } parts[] = {
        {"attn_norm", TINY_EMBD, 0}, {"attn_q", TINY_EMBD, 32}, {"attn_k", TINY_EMBD, 16}, {"attn_v", TINY_EMBD, 16}, {"attn_output", 32, TINY_EMBD},
        {"ffn_norm", TINY_EMBD, 0}, {"ffn_gate", TINY_EMBD, TINY_FF}, {"ffn_up", TINY_EMBD, TINY_FF}, {"ffn_down", TINY_FF, TINY_EMBD},
    };
    int n = 0;
    t[n++] = (tiny_tensor){"token_embd.weight", {TINY_EMBD, TINY_VOCAB}, 0};
    t[n++] = (tiny_tensor){"output_norm.weight", {TINY_EMBD, 1}, 1};
    for (int i = 0; i < TINY_LAYERS; i++)
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++, n++) {
            snprintf(t[n].name, sizeof t[n].name, "blk.%d.%s.weight", i, parts[p].part);
            t[n].ne[0] = parts[p].ne0, t[n].ne[1] = parts[p].ne1 ? parts[p].ne1 : 1, t[n].vector = !parts[p].ne1;
        }
    int kept = 0;
    for (int i = 0; i < n; i++) {
        if (tiny_changed(c, t[i].name) && c->type == LEAVE_OUT)
            continue;
        t[kept] = t[i];
        if (tiny_changed(c, t[i].name) && c->ne[0])
            t[kept].ne[0] = c->ne[0], t[kept].ne[1] = c->ne[1];
        kept++;
    }
    return kept;
}

/* The path of the model's file, until the next call. */
static inline const char *tiny_model(const tiny_change *c)
{
    static gguf_build b;
    tiny_tensor t[32];
    const int n = tiny_tensors(t, c);
    uint64_t offset = 0, seed = 1;
    put_header(&b, (uint64_t)n, 18);
    tiny_metadata(&b, c);
    for (int i = 0; i < n; i++) {
        put_tensor(&b, t[i].name, t[i].ne[0], t[i].ne[1], t[i].vector ? 0 : 8, offset);
        offset += ((t[i].vector ? t[i].ne[0] * t[i].ne[1] * 4 : t[i].ne[0] / 32 * 34 * t[i].ne[1]) + 31) & ~31ull;
    }
    put_data(&b, 32, 0);
    for (int i = 0; i < n; i++) {
        const uint64_t values = t[i].ne[0] * t[i].ne[1];
        const uint16_t scale = tiny_changed(c, t[i].name) && c->scale ? c->scale : 0x1800; /* 0.00195 */
        for (uint64_t v = 0; v < values; v += t[i].vector ? 1 : 32) {
            if (t[i].vector) {
                put(&b, &(float){1.0f}, 4);
                continue;
            }
            put(&b, &scale, 2);
            for (int q = 0; q < 32; q++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                put(&b, &(uint8_t){(uint8_t)(seed >> 56)}, 1);
            }
        }
        put_data(&b, 32, 0);
    }
    return save(&b);
}

#endif
