/* vocab_build.h - vocabulary-only GGUF files for tests: 256 bytes, a few user-defined texts, a few merges, one end of turn. */
#ifndef VOCAB_BUILD_H
#define VOCAB_BUILD_H

#include <stdbool.h>

#include "gguf_build.h"

/* What a test wants otherwise than usual; NULL and 0: as usual. */
typedef struct {
    const char *model, *pre, *token; /* token: one more normal token */
    int n_types, n_scores, bad_type, no_bytes, no_merges, scores_i32, nan_score;
    int64_t bos;
    const char *byte_text;
} wishes;

static const char *const user_texts[] = {"aa", "aaa", "abc", "cdab", "bcdabc", "dd"};
static const char *const merges[] = {"a b", "b a", "ab a", "aba ba", "c c", "cc c", "x nowhere", "broken", "a b"};
static const char *const merged_texts[] = {"ab", "ba", "aba", "ababa", "cc", "ccc"};
enum { N_USER = 6, N_MERGED = 6, FIRST_USER = 256, FIRST_MERGED = FIRST_USER + N_USER, EOT = FIRST_MERGED + N_MERGED, N_TOKENS };

static inline int n_tokens(const wishes *w)
{
    return N_TOKENS + (w->token != NULL);
}

/* GPT-2's printable code point for a byte. */
static inline int stand_in(int byte)
{
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173))
        return byte;
    return byte < 33 ? 256 + byte : byte < 161 ? 162 + byte : 323;
}

static inline void put_byte_text(gguf_build *b, const wishes *w, int byte, bool spm)
{
    char text[16];
    int c = stand_in(byte);
    if (w->no_bytes)
        snprintf(text, sizeof text, "[no byte %d]", byte % 10);
    else if (spm)
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
    else
        snprintf(text, sizeof text, c < 128 ? "%c" : "%c%c", c < 128 ? c : 0xC0 | c >> 6, 0x80 | (c & 63));
    put_str(b, byte == 'Q' && w->byte_text ? w->byte_text : text);
}

static inline void put_tokens(gguf_build *b, const wishes *w, bool spm)
{
    put_array(b, "tokenizer.ggml.tokens", 8, (uint64_t)n_tokens(w));
    for (int i = 0; i < 256; i++)
        put_byte_text(b, w, i, spm);
    for (int i = 0; i < N_USER; i++)
        put_str(b, user_texts[i]);
    for (int i = 0; i < N_MERGED; i++)
        put_str(b, merged_texts[i]);
    put_str(b, "<|im_end|>");
    if (w->token)
        put_str(b, w->token);
}

static inline int32_t type_of(const wishes *w, int id, bool spm)
{
    if (id == 30 && w->bad_type)
        return w->bad_type;
    if (id < 256)
        return spm && !w->no_bytes ? 6 : 1;
    return id < FIRST_MERGED ? 4 : id == EOT ? 3 : 1;
}

static inline void put_types(gguf_build *b, const wishes *w, bool spm)
{
    int n = w->n_types ? w->n_types : n_tokens(w);
    put_array(b, "tokenizer.ggml.token_type", 5, (uint64_t)n);
    for (int i = 0; i < n; i++)
        put_u32(b, (uint32_t)type_of(w, i, spm));
}

static inline void put_scores(gguf_build *b, const wishes *w)
{
    int n = w->n_scores ? w->n_scores : n_tokens(w);
    put_array(b, "tokenizer.ggml.scores", w->scores_i32 ? 5 : 6, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        float score = i == 7 && w->nan_score ? 0.0f / 0.0f : i < FIRST_MERGED ? -1000 : -(float)(i - FIRST_MERGED);
        put(b, &score, 4);
    }
}

static inline const char *write_vocab(const wishes *w)
{
    static gguf_build b;
    bool spm = w->model && strcmp(w->model, "llama") == 0;
    put_header(&b, 0, 5 + (spm || !w->no_merges) + (w->bos != 0));
    put_pair_str(&b, "general.architecture", "llama");
    put_pair_str(&b, "tokenizer.ggml.model", w->model ? w->model : "gpt2");
    put_pair_str(&b, "tokenizer.ggml.pre", w->pre ? w->pre : "gpt-2");
    put_tokens(&b, w, spm);
    put_types(&b, w, spm);
    if (spm) {
        put_scores(&b, w);
    } else if (!w->no_merges) {
        put_array(&b, "tokenizer.ggml.merges", 8, sizeof merges / sizeof *merges);
        for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
            put_str(&b, merges[i]);
    }
    if (w->bos)
        put_pair(&b, "tokenizer.ggml.bos_token_id", 4, (uint32_t[]){(uint32_t)w->bos}, 4);
    return save(&b);
}

#endif
