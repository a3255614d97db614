/* test_token_kinds.c - WordPiece, unigram, RWKV and BPE of characters over vocabularies of a few tokens: what is refused,
 * ids that were worked out by hand, there and back, every failing allocation, thousands of mutants. */
#include "check.h"
#include "gguf_build.h"

#include "core/memory.h"
#include "token/encoding.h"

enum { N_MUTANTS = 2000, MAX_IDS = 4096, MAX_TOKENS = 32, NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

typedef struct {
    const char *model, *pre;
    const char *tokens[MAX_TOKENS]; /* NULL behind the last */
    int first_types[4];             /* 0, and all behind: normal */
    float scores[MAX_TOKENS];
    const char *merges[8];
    int unk; /* -1: the key is left out */
    int collapse, space_prefix, suffix, cased, sep;
    const uint32_t *charsmap; /* in units, the size in front */
    size_t n_charsmap;        /* bytes */
} wishes;

static int count(const char *const *texts)
{
    int n = 0;
    while (texts[n])
        n++;
    return n;
}

static void put_strings(gguf_build *b, const char *key, const char *const *texts)
{
    int n = count(texts);
    put_array(b, key, 8, (uint64_t)n);
    for (int i = 0; i < n; i++)
        put_str(b, texts[i]);
}

static void put_flag(gguf_build *b, const char *key, int value)
{
    put_pair(b, key, 7, (uint8_t[]){value != 0}, 1);
}

static void put_lists(gguf_build *b, const wishes *w)
{
    int n = count(w->tokens);
    put_strings(b, "tokenizer.ggml.tokens", w->tokens);
    put_array(b, "tokenizer.ggml.token_type", 5, (uint64_t)n);
    for (int i = 0; i < n; i++)
        put_u32(b, i < 4 && w->first_types[i] ? (uint32_t)w->first_types[i] : NORMAL);
    put_array(b, "tokenizer.ggml.scores", 6, (uint64_t)n);
    put(b, w->scores, (size_t)n * sizeof *w->scores);
    put_array(b, "tokenizer.ggml.precompiled_charsmap", 0, w->n_charsmap);
    put(b, w->charsmap, w->n_charsmap);
}

static const char *write_vocab(const wishes *w)
{
    static gguf_build b;
    bool merges = w->merges[0], pre = w->pre, unk = w->unk >= 0;
    put_header(&b, 0, 9u + merges + pre + unk - (w->n_charsmap == 0) + 2 * (w->sep > 0));
    put_pair_str(&b, "tokenizer.ggml.model", w->model);
    put_lists(&b, w);
    if (w->n_charsmap == 0)
        b.n -= 8 + strlen("tokenizer.ggml.precompiled_charsmap") + 4 + 4 + 8;
    put_flag(&b, "tokenizer.ggml.remove_extra_whitespaces", w->collapse);
    put_flag(&b, "tokenizer.ggml.add_space_prefix", w->space_prefix);
    put_flag(&b, "tokenizer.ggml.treat_whitespace_as_suffix", w->suffix);
    put_flag(&b, "tokenizer.ggml.normalizer.lowercase", !w->cased);
    if (merges)
        put_strings(&b, "tokenizer.ggml.merges", w->merges);
    if (pre)
        put_pair_str(&b, "tokenizer.ggml.pre", w->pre);
    if (unk)
        put_pair(&b, "tokenizer.ggml.unknown_token_id", 4, (uint32_t[]){(uint32_t)w->unk}, 4);
    if (w->sep > 0) {
        put_pair(&b, "tokenizer.ggml.cls_token_id", 4, (uint32_t[]){1}, 4);
        put_pair(&b, "tokenizer.ggml.seperator_token_id", 4, (uint32_t[]){(uint32_t)w->sep}, 4);
    }
    return save(&b);
}

static int open_path(const char *path, lt_vocab **v)
{
    lt_gguf *g;
    *v = NULL;
    int rc = lt_gguf_open(&g, path);
    if (rc < 0)
        return rc;
    rc = lt_vocab_open(v, g);
    lt_gguf_close(g);
    return rc;
}

static lt_vocab *open_vocab(const wishes *w)
{
    lt_vocab *v;
    CHECK(open_path(write_vocab(w), &v) == LT_OK, "%s", lt_last_error());
    return v;
}

/* ---- the vocabularies --------------------------------------------------------------------------------------------- */

/* Maps "A" to "b " and "AB" to "cd". */
enum { N_UNITS = 0xC4, LEAF = 1 << 8 };
static const uint32_t charsmap[1 + N_UNITS + 2] = {
    [0] = 4 * N_UNITS,
    [1 + 0] = 1u << 10,
    [1 + 0x40] = 'A' | LEAF | 0xC0u << 10,
    [1 + 0x80] = 0x80000000u | 0,
    [1 + 0xC2] = 'B' | LEAF | 2u << 10,
    [1 + 0xC0] = 0x80000000u | 3,
    [1 + N_UNITS] = 'b' | ' ' << 8 | 'c' << 24, /* "b \0c" "d\0" */
    [2 + N_UNITS] = 'd',
};
enum { N_CHARSMAP = 4 + 4 * N_UNITS + 6 };

static const wishes wordpiece = {
    .model = "bert",
    .tokens = {"[UNK]", "[CLS]", "[SEP]", "\u2581un", "able", "aff", "\u2581e", "\u2581!", "\u2581\u6F22", "s", "\u2581able", "\u2581"},
    .first_types = {UNKNOWN, CONTROL, CONTROL},
    .sep = 2,
};
static const wishes unigram = {
    .model = "t5",
    .tokens = {"<pad>", "</s>", "<unk>", "\u2581ab", "\u2581", "a", "b", "bc", "c", "d", "\u2581b", "cd"},
    .first_types = {CONTROL, CONTROL, UNKNOWN},
    .scores = {0, 0, 0, -1, -2, -3, -3, -2, -3, -3, -2.5f, -5},
    .unk = -1,
    .collapse = 1,
    .space_prefix = 1,
    .charsmap = charsmap,
    .n_charsmap = N_CHARSMAP,
};
static const wishes rwkv = {
    .model = "rwkv",
    .tokens = {"<s>", "a", "ab", "abcd", "b", "c", "\\n", "\\xff\\x00", "\\\\", "\\'", "d"},
    .first_types = {CONTROL},
    .unk = 0,
};
static const wishes of_characters = {
    .model = "gemma4",
    .tokens = {"<0xC3>", "<0xB1>", "<unk>", "a", "\u2581", "\u2581a", "\u6F22", "a\u6F22", "\n", "\n\n\n", "\u2581\u2581"},
    .first_types = {BYTE, BYTE, UNKNOWN},
    .merges = {"\u2581 a", "a \u6F22", "\u2581 \u2581"},
    .unk = 2,
};
static const wishes by_rank = {
    .model = "gpt2",
    .pre = "kimi-k2",
    .tokens = {"a", "b", "c", "bc", "ab"},
    .unk = -1,
};
static const wishes *const all[] = {&wordpiece, &unigram, &rwkv, &of_characters, &by_rank};
enum { N_ALL = sizeof all / sizeof *all };

/* ---- ids ---------------------------------------------------------------------------------------------------------- */

static int32_t ids[MAX_IDS];

/* Writes the ids with spaces between them. */
static const char *encode(const lt_vocab *v, const char *text, uint32_t flags)
{
    static char out[256];
    size_t n = 0;
    int used = 0;
    CHECK(lt_tokenize(v, text, strlen(text), flags, ids, MAX_IDS, &n) == LT_OK, "%s", lt_last_error());
    out[0] = 0;
    for (size_t i = 0; i < n; i++)
        used += snprintf(out + used, sizeof out - (size_t)used, i ? " %d" : "%d", ids[i]);
    return out;
}

static void test_ids(void)
{
    static const struct {
        const wishes *w;
        const char *text, *ids;
        uint32_t flags;
    } cases[] = {
        {&wordpiece, "unable", "3 4", 0},
        {&wordpiece, " UNABLE\t\u00C9!\u6F22s", "3 4 6 7 8 0", 0}, /* a capital with an accent; a word to a Chinese character */
        {&wordpiece, "unaffable able x", "3 5 4 10 0", 0},
        {&wordpiece, "un\u2581able", "0", 0}, /* what begins a word does not go on with one */
        {&wordpiece, "e\u0301 e\a \uFFFDe", "6 6 6", 0},
        {&wordpiece, "un [SEP]able", "1 3 2 10 2", LT_TOK_ADD_SPECIAL | LT_TOK_PARSE_SPECIAL},
        {&wordpiece, "", "1 2", LT_TOK_ADD_SPECIAL},
        {&unigram, "ab", "3", 0},
        {&unigram, "  abc  b ", "3 8 10", 0},
        {&unigram, "bcd", "4 7 9", 0}, /* bc d, not b cd */
        {&unigram, "xyz b", "4 2 10", 0},
        {&unigram, "AAB", "10 4 11", 0}, /* "b " and "cd" */
        {&unigram, "ab", "3 1", LT_TOK_ADD_SPECIAL},
        {&unigram, "   ", "", 0},
        {&rwkv, "abcd", "3", 0},
        {&rwkv, "abca", "2 5 1", 0},
        {&rwkv, "\n\\'a", "6 8 9 1", 0},
        {&rwkv, "x\xFF", "0 0", 0},
        {&of_characters, " a\u6F22", "5 6", 0},
        {&of_characters, "a\u6F22\u00F1", "7 0 1", 0},
        {&of_characters, "z\n\n\n\n\n\n a", "2 8 8 8 8 8 8 5", 0},
        {&of_characters, "a\n\n\na", "3 9 3", 0},
        {&of_characters, "   ", "10 4", 0},
        {&by_rank, "abc", "0 3", 0}, /* bc comes before ab */
        {&by_rank, "ab", "4", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_vocab *v = open_vocab(cases[i].w);
        const char *got = encode(v, cases[i].text, cases[i].flags);
        CHECK(strcmp(got, cases[i].ids) == 0, "case %zu, \"%s\": %s, want %s", i, cases[i].text, got, cases[i].ids);
        lt_vocab_close(v);
    }
}

static void check_text(const wishes *w, const char *text, const char *want)
{
    char back[64];
    size_t n = 0, n_back = 0;
    lt_vocab *v = open_vocab(w);
    CHECK(lt_tokenize(v, text, strlen(text), 0, ids, MAX_IDS, &n) == LT_OK, "%s", lt_last_error());
    CHECK(lt_detokenize(v, ids, n, 0, back, sizeof back, &n_back) == LT_OK, "%s", lt_last_error());
    CHECK(n_back == strlen(want) && memcmp(back, want, n_back) == 0, "\"%s\" -> \"%.*s\"", text, (int)n_back, back);
    lt_vocab_close(v);
}

static void test_texts(void)
{
    check_text(&wordpiece, "Unable  e!", "unable e !");
    check_text(&unigram, " ab  bc", "ab bc");
    check_text(&rwkv, "abcd\n\\ab", "abcd\n\\ab");
    check_text(&of_characters, " a \u6F22\u00F1\n", " a \u6F22\u00F1\n");
    check_text(&by_rank, "abcba", "abcba");
}

/* Unlike the usual: kept spaces, a space behind, letters as they are. */
static void test_settings(void)
{
    wishes w = unigram;
    w.collapse = 0;
    lt_vocab *v = open_vocab(&w);
    CHECK(strcmp(encode(v, " ab ", 0), "4 3 4") == 0, "%s", encode(v, " ab ", 0));
    lt_vocab_close(v);
    w.suffix = 1;
    v = open_vocab(&w);
    CHECK(strcmp(encode(v, "ab", 0), "5 6 4") == 0, "%s", encode(v, "ab", 0));
    lt_vocab_close(v);
    w = wordpiece;
    w.cased = 1;
    v = open_vocab(&w);
    CHECK(strcmp(encode(v, "un Un \u00E9", 0), "3 0 0") == 0, "%s", encode(v, "un Un \u00E9", 0));
    lt_vocab_close(v);
}

/* ---- refusals ----------------------------------------------------------------------------------------------------- */

static void refuse(const wishes *w, int code, const char *says)
{
    lt_vocab *v;
    int rc = open_path(write_vocab(w), &v);
    CHECK(rc == code && v == NULL && strstr(lt_last_error(), says), "rc %d, \"%s\", want \"%s\"", rc, lt_last_error(), says);
}

static void test_refusals(void)
{
    static char long_token[LT_MAX_PREFIX_BYTES + 2], long_text[4 + 4 + 300];
    memset(long_token, 'x', sizeof long_token - 1);
    wishes w = rwkv;
    w.tokens[10] = long_token;
    refuse(&w, LT_E_FORMAT, "257 bytes");
    w = rwkv;
    w.unk = -1;
    refuse(&w, LT_E_FORMAT, "no unknown token");
    w = wordpiece;
    w.unk = -1; /* and the usual id, 100, is not there */
    refuse(&w, LT_E_FORMAT, "no unknown token");
    w = unigram;
    w.scores[5] = -1.0f / 0.0f;
    refuse(&w, LT_E_FORMAT, "token 5 has an infinite score");
    w = unigram;
    w.n_charsmap = 3;
    refuse(&w, LT_E_FORMAT, "precompiled_charsmap has 3 bytes");
    w.n_charsmap = 4 * N_UNITS;
    refuse(&w, LT_E_FORMAT, "do not hold a trie");
    w.n_charsmap = N_CHARSMAP - 1;
    refuse(&w, LT_E_FORMAT, "has no end");
    memcpy(long_text, (uint32_t[]){4, 0}, 8);
    memset(long_text + 8, 'y', sizeof long_text - 9);
    w.charsmap = (const uint32_t *)(const void *)long_text;
    w.n_charsmap = sizeof long_text;
    refuse(&w, LT_E_FORMAT, "a text has 299 bytes");
}

/* ---- hostile surroundings ----------------------------------------------------------------------------------------- */

static const char plain_text[] =
    "unable ab AAB xyz abcd\n\n\n \u6F22 \u00F1 unaffable \xFF\xC3 \u2581a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab ";

static void fill(char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        text[i] = plain_text[i % (sizeof plain_text - 1)];
}

static void test_failing_allocations(void)
{
    static char text[8192];
    static int32_t many[sizeof text];
    fill(text, sizeof text);
    for (int k = 0; k < N_ALL; k++) {
        lt_vocab *v;
        const char *path = write_vocab(all[k]);
        int64_t before = lt_alloc_count();
        CHECK(open_path(path, &v) == LT_OK, "%s", lt_last_error());
        int64_t n_allocs = lt_alloc_count() - before;
        for (int64_t i = 1; i <= n_allocs; i++) {
            lt_vocab *other;
            lt_fail_alloc_at(i);
            CHECK(open_path(path, &other) == LT_E_NOMEM && other == NULL, "%s, allocation %d", all[k]->model, (int)i);
        }
        size_t need = 0;
        before = lt_alloc_count();
        CHECK(lt_tokenize(v, text, sizeof text, 3, many, sizeof text, &need) == LT_OK, "%s", lt_last_error());
        n_allocs = lt_alloc_count() - before;
        for (int64_t i = 1; i <= n_allocs; i++) {
            need = 0;
            lt_fail_alloc_at(i);
            CHECK(lt_tokenize(v, text, sizeof text, 3, many, sizeof text, &need) == LT_E_NOMEM && need == 0, "%s, allocation %d",
                  all[k]->model, (int)i);
        }
        lt_fail_alloc_at(0);
        lt_vocab_close(v);
    }
}

/* Nothing to assert but that it comes back: the sanitizers watch. */
static void test_mutants(void)
{
    static uint8_t original[1 << 16], mutant[1 << 16];
    static int32_t many[sizeof plain_text];
    uint32_t state = 99;
    for (int k = 0; k < N_ALL; k++) {
        write_vocab(all[k]);
        ssize_t n = pread(scratch()->fd, original, sizeof original, 0), n_opened = 0;
        for (int round = 0; round < N_MUTANTS; round++) {
            memcpy(mutant, original, (size_t)n);
            for (int i = 0; i < 1 + round % 4; i++) {
                state = state * 1664525u + 1013904223u;
                mutant[(state >> 8) % (uint32_t)n] = (uint8_t)(state % 2 ? state >> 24 : state >> 29);
            }
            lt_vocab *v;
            size_t need;
            if (open_path(save_bytes(mutant, (size_t)n), &v) < 0)
                continue;
            n_opened++;
            lt_tokenize(v, plain_text, sizeof plain_text - 1, (uint32_t)round % 4, many, sizeof plain_text, &need);
            lt_vocab_close(v);
        }
        CHECK(n_opened > 0, "no mutant of %s was served", all[k]->model);
    }
}

int main(void)
{
    test_ids();
    test_texts();
    test_settings();
    test_refusals();
    test_failing_allocations();
    test_mutants();
    unlink(scratch()->path);
    return check_report("test_token_kinds");
}
