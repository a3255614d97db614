/* test_token.c - vocabularies from small files: what is refused, how text is cut, merged and given back, against slow and
 * obvious versions of the same; every failing allocation; thousands of mutants. */
#include "check.h"
#include "vocab_build.h"

#include "core/memory.h"
#include "token/encoding.h"

enum { N_RANDOM = 3000, N_MUTANTS = 4000, MAX_IDS = 4096 };

static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static int open_path(const char *path, lt_vocab **v)
{
    lt_gguf *g;
    int rc = lt_gguf_open(&g, path);
    if (rc < 0)
        return rc;
    rc = lt_vocab_open(v, g);
    lt_gguf_close(g);
    return rc;
}

static int open_vocab(const wishes *w, lt_vocab **v)
{
    *v = NULL;
    return open_path(write_vocab(w), v);
}

static lt_vocab *open_kind(int spm)
{
    lt_vocab *v;
    CHECK(open_vocab(&(wishes){.model = spm ? "llama" : NULL}, &v) == LT_OK, "%s", lt_last_error());
    return v;
}

static int32_t ids[MAX_IDS];

static size_t encode(const lt_vocab *v, const char *text, size_t n, uint32_t flags)
{
    size_t n_ids = 0;
    int rc = lt_tokenize(v, text, n, flags, ids, MAX_IDS, &n_ids);
    CHECK(rc == LT_OK, "%s", lt_last_error());
    return n_ids;
}

/* ---- files that must be refused, or repaired ---------------------------------------------------------------------- */

static void test_refusals(void)
{
    static const struct {
        wishes w;
        int code;
        const char *says;
    } cases[] = {
        {{.model = "plamo2"}, LT_E_UNSUPPORTED, "\"plamo2\""},
        {{.pre = "gpt-3"}, LT_E_UNSUPPORTED, "\"gpt-3\""},
        {{.n_types = 7}, LT_E_FORMAT, "has 7 items"},
        {{.model = "llama", .n_scores = 9}, LT_E_FORMAT, "has 9 items"},
        {{.model = "llama", .scores_i32 = 1}, LT_E_FORMAT, "tokenizer.ggml.scores"},
        {{.model = "llama", .nan_score = 1}, LT_E_FORMAT, "token 7"},
        {{.bad_type = 99}, LT_E_FORMAT, "type 99"},
        {{.bad_type = -1}, LT_E_FORMAT, "type -1"},
        {{.no_bytes = 1}, LT_E_FORMAT, "single byte"},
        {{.no_merges = 1}, LT_E_FORMAT, "tokenizer.ggml.merges"},
        {{.bos = N_TOKENS}, LT_E_FORMAT, "bos_token_id"},
        {{.bos = UINT32_MAX}, LT_E_FORMAT, "4294967295"},
        {{.model = "llama", .byte_text = "<0x-1>"}, LT_E_FORMAT, "\"<0x-1>\""},
        {{.model = "llama", .byte_text = "<0xZZ>"}, LT_E_FORMAT, "\"<0xZZ>\""},
        {{.model = "llama", .byte_text = "<0x1>"}, LT_E_FORMAT, "byte token 81"},
        {{.model = "llama", .byte_text = ""}, LT_E_FORMAT, "byte token 81"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_vocab *v;
        int rc = open_vocab(&cases[i].w, &v);
        CHECK(rc == cases[i].code && v == NULL, "case %zu: rc %d", i, rc);
        CHECK(strstr(lt_last_error(), cases[i].says), "case %zu: %s", i, lt_last_error());
    }
    static char giant[LT_MAX_TOKEN_BYTES + 2];
    memset(giant, 'g', sizeof giant - 1);
    lt_vocab *v;
    CHECK(open_vocab(&(wishes){.token = giant}, &v) == LT_E_FORMAT && strstr(lt_last_error(), "4097 bytes"), "%s", lt_last_error());
}

/* Empty, doubled and broken texts are served: an empty one is never found, a doubled one is encoded as the last. */
static void test_repairs(void)
{
    static const char *const tokens[] = {"", "ab", "\xFF\xFE", "with space"};
    for (int i = 0; i < 4; i++)
        for (int spm = 0; spm < 2; spm++) {
            lt_vocab *v;
            CHECK(open_vocab(&(wishes){.token = tokens[i], .model = spm ? "llama" : NULL}, &v) == LT_OK, "%s", lt_last_error());
            size_t n = encode(v, "b ab", 4, 0);
            CHECK(ids[n - 1] == (i == 1 ? N_TOKENS : FIRST_MERGED), "token %d: %d", i, ids[n - 1]);
            lt_vocab_close(v);
        }
}

/* ---- pretokenisers ------------------------------------------------------------------------------------------------ */

/* The pieces with "|" between them. */
static void join_pieces(const char *pre, const char *text, char *out)
{
    lt_rune runes[256];
    lt_piece_walk walk;
    uint32_t from, to;
    uint32_t n = (uint32_t)lt_runes_decode((const uint8_t *)text, strlen(text), runes);
    lt_piece_walk_start(&walk, lt_pretokenizer_find(pre, strlen(pre)), runes, n);
    while (lt_piece_walk_next(&walk, &from, &to)) {
        for (; from < to; from++)
            for (unsigned i = lt_rune_bytes(runes[from]); i > 0; i--)
                *out++ = *text++;
        *out++ = '|';
    }
    *out = 0;
}

static void test_pretokenizers(void)
{
    static const struct {
        const char *pre, *text, *pieces;
    } cases[] = {
        {"gpt-2", "I'm 12345 b's  x \n\n y\t", "I|'m| 12345| b|'s| | x| \n\n| y|\t|"},
        {"gpt-2", "I'M don'T 'quoted' a-b", "I|'|M| don|'|T| '|quoted|'| a|-|b|"},
        {"llama-bpe", "I'M 12345 b's  x \n\n y\t", "I|'M| |123|45| b|'s| | x| \n\n| y|\t|"},
        {"llama-bpe", "(foo) x=1;\n\n\n  end", "(foo|)| x|=|1|;\n\n\n| | end|"},
        {"llama-bpe", "a\n b \r\n", "a|\n| b| \r\n|"},
        {"qwen2", "in 2024, x", "in| |2|0|2|4|,| x|"},
        {"starcoder", "a 12 b", "a| |1|2| b|"},
        {"smollm", "v1.5x", "v|1|.|5|x|"},
        {"falcon", "a `b` 12345 $x", "a| |`|b|`| |123|45| |$|x|"},
        {"default", "a `b` 12345 $x", "a| `|b|`| |123|45| |$|x|"},
        {"deepseek-llm", "ab \u4E2D\u6587 12\n\n x  ", "ab| |\u4E2D\u6587| |12|\n|\n| x|  |"},
        {"deepseek-llm", " \u00E0bc, d", " \u00E0|bc|,| d|"},
        {"gpt-2", "e\u0301 \u00BD \u3000\u3000x", "e|\u0301| \u00BD| \u3000|\u3000|x|"},
        {"gpt-2", "a\xFF\xFE z\xE4\xB8", "a|\xFF\xFE| z|\xE4\xB8|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char pieces[512];
        join_pieces(cases[i].pre, cases[i].text, pieces);
        CHECK(strcmp(pieces, cases[i].pieces) == 0, "%s: \"%s\" -> \"%s\"", cases[i].pre, cases[i].text, pieces);
    }
}

/* ---- special tokens ----------------------------------------------------------------------------------------------- */

/* The rule itself: each text, longest first, is looked for in what is left.  owner[i]: -1, or id of the token over byte i;
 * first[i]: it starts there. */
static void partition_slowly(const char *text, int n, int *owner, bool *first)
{
    for (int i = 0; i < n; i++) {
        owner[i] = -1;
        first[i] = false;
    }
    for (int length = 6; length >= 2; length--)
        for (int at = 0; at + length <= n; at++)
            for (int t = 0; t < N_USER; t++) {
                bool fits = (int)strlen(user_texts[t]) == length && memcmp(text + at, user_texts[t], (size_t)length) == 0;
                for (int i = at; fits && i < at + length; i++)
                    fits = owner[i] < 0;
                for (int i = at; fits && i < at + length; i++)
                    owner[i] = FIRST_USER + t;
                first[at] = first[at] || fits;
            }
}

static void check_partition(const lt_vocab *v, const char *text, int n)
{
    int owner[64];
    bool first[64];
    partition_slowly(text, n, owner, first);
    lt_fragments f;
    lt_fragment part;
    int at = 0;
    lt_fragments_start(&f, v, (const uint8_t *)text, (size_t)n, false);
    while (lt_fragments_next(&f, &part) > 0) {
        bool same = part.text == (const uint8_t *)text + at && part.n > 0 && (part.id < 0 || first[at]);
        for (size_t i = 0; i < part.n; i++)
            same = same && owner[at + (int)i] == part.id && (i == 0 || !first[at + (int)i]);
        CHECK(same, "\"%.*s\" at %d: id %d, %zu bytes", n, text, at, part.id, part.n);
        at += (int)part.n;
    }
    CHECK(at == n, "\"%.*s\": %d of %d bytes", n, text, at, n);
    lt_fragments_end(&f);
}

static void test_special_tokens(void)
{
    lt_vocab *v = open_kind(0);
    for (int round = 0; round < N_RANDOM; round++) {
        char text[48];
        int n = 1 + (int)random_below(sizeof text - 1);
        for (int i = 0; i < n; i++)
            text[i] = (char)('a' + random_below(4));
        check_partition(v, text, n);
    }
    CHECK(encode(v, "x<|im_end|>y", 12, LT_TOK_PARSE_SPECIAL) == 3 && ids[1] == EOT, "id %d", ids[1]);
    CHECK(encode(v, "x<|im_end|>y", 12, 0) == 12, "special tokens are text without the flag");
    CHECK(lt_token_is_eog(v, EOT) == 1 && lt_token_is_eog(v, 0) == 0 && lt_token_is_eog(v, N_TOKENS) == -1, "eog");
    lt_vocab_close(v);
}

/* ---- merging ------------------------------------------------------------------------------------------------------ */

/* Symbols by text; always merges the pair of the lowest number in `list`, leftmost first. */
static int merge_slowly(const char *text, int n, int *ends)
{
    static const char *const pairs[][2] = {{"a", "b"}, {"b", "a"}, {"ab", "a"}, {"aba", "ba"}, {"c", "c"}, {"cc", "c"}};
    int n_symbols = n;
    for (int i = 0; i < n; i++)
        ends[i] = i + 1;
    for (;;) {
        int best = -1, best_rank = 6;
        for (int i = 0; i + 1 < n_symbols; i++) {
            int from = i ? ends[i - 1] : 0, n_left = ends[i] - from, n_right = ends[i + 1] - ends[i];
            for (int r = 0; r < best_rank; r++)
                if ((int)strlen(pairs[r][0]) == n_left && (int)strlen(pairs[r][1]) == n_right &&
                    memcmp(text + from, pairs[r][0], (size_t)n_left) == 0 && memcmp(text + ends[i], pairs[r][1], (size_t)n_right) == 0) {
                    best = i;
                    best_rank = r;
                }
        }
        if (best < 0)
            return n_symbols;
        memmove(ends + best, ends + best + 1, (size_t)(n_symbols - best - 1) * sizeof *ends);
        n_symbols--;
    }
}

/* Letters that make no user-defined text, so that the whole is one piece; short and long ones take different roads. */
static void test_merging(void)
{
    lt_vocab *v = open_kind(0);
    for (int round = 0; round < N_RANDOM; round++) {
        char text[160];
        int ends[160], n = 1 + (int)random_below(round % 2 ? 40 : 159), at = 0;
        for (int i = 0; i < n; i++)
            text[i] = i && text[i - 1] == 'a' ? 'b' : "bac"[random_below(3)];
        for (int i = 2; i < n; i++) /* no "abc" */
            text[i] = text[i] == 'c' && text[i - 1] == 'b' && text[i - 2] == 'a' ? 'b' : text[i];
        int n_symbols = merge_slowly(text, n, ends);
        size_t n_ids = encode(v, text, (size_t)n, 0);
        CHECK((int)n_ids == n_symbols, "\"%.*s\": %zu ids, want %d", n, text, n_ids, n_symbols);
        for (size_t i = 0; i < n_ids && i < (size_t)n_symbols; i++) {
            uint32_t n_bytes;
            lt_vocab_piece(v, ids[i], &n_bytes);
            at += (int)n_bytes;
            CHECK(at == ends[i], "\"%.*s\": symbol %zu ends at %d, want %d", n, text, i, at, ends[i]);
        }
    }
    lt_vocab_close(v);
}

/* ---- there and back ----------------------------------------------------------------------------------------------- */

static void check_round_trip(const lt_vocab *v, const char *text, size_t n)
{
    char back[4 * MAX_IDS];
    size_t n_back = 0, n_ids = encode(v, text, n, 0);
    int rc = lt_detokenize(v, ids, n_ids, 0, back, sizeof back, &n_back);
    CHECK(rc == LT_OK && n_back == n && memcmp(back, text, n) == 0, "\"%.*s\" -> \"%.*s\"", (int)n, text, (int)n_back, back);
}

static void test_round_trip(void)
{
    for (int spm = 0; spm < 2; spm++) {
        lt_vocab *v = open_kind(spm);
        for (int round = 0; round < N_RANDOM; round++) {
            char text[200];
            size_t n = random_below(sizeof text);
            for (size_t i = 0; i < n; i++)
                text[i] = (char)(round % 2 ? random_below(256) : 'a' + random_below(6));
            if (!spm || !(memchr(text, 'a', n) || memchr(text, 'd', n))) /* a space is put behind every user-defined token too; it stays */
                check_round_trip(v, text, n);
        }
        lt_vocab_close(v);
    }
}

static void test_buffers(void)
{
    lt_vocab *v = open_kind(0);
    int32_t two[3] = {-7, -7, -7};
    char text[4] = "zzz";
    size_t need = 0;
    CHECK(lt_tokenize(v, "xyz", 3, 0, two, 2, &need) == LT_E_CAP && need == 3 && two[0] == -7, "need %zu", need);
    CHECK(lt_tokenize(v, NULL, 0, 0, NULL, 0, &need) == LT_OK && need == 0, "empty text");
    CHECK(lt_tokenize(v, "x", 1, 4, two, 2, &need) == LT_E_ARG, "unknown flag");
    CHECK(lt_tokenize(NULL, "x", 1, 0, two, 2, &need) == LT_E_ARG, "no vocabulary");
    CHECK(lt_detokenize(v, (int32_t[]){'x', 'y'}, 2, 0, text, 1, &need) == LT_E_CAP && need == 2 && text[0] == 'z', "need %zu", need);
    CHECK(lt_detokenize(v, (int32_t[]){'x', N_TOKENS}, 2, 0, text, 3, &need) == LT_E_ARG, "id out of range");
    CHECK(lt_detokenize(v, (int32_t[]){-1}, 1, 0, text, 3, &need) == LT_E_ARG, "negative id");
    CHECK(lt_detokenize(v, (int32_t[]){EOT}, 1, 0, text, 3, &need) == LT_OK && need == 0, "control tokens are silent");
    CHECK(lt_detokenize(v, (int32_t[]){EOT}, 1, LT_DETOK_SPECIAL, text, 3, &need) == LT_E_CAP && need == 10, "need %zu", need);
    uint32_t sizes[N_TOKENS];
    char pieces[1 << 12];
    CHECK(lt_vocab_pieces(v, NULL, 0, sizes, &need) == LT_E_CAP && sizes['x'] == 1 && sizes[EOT] == 0, "need %zu", need);
    CHECK(lt_vocab_pieces(v, pieces, need - 1, sizes, &need) == LT_E_CAP, "need %zu", need);
    CHECK(need <= sizeof pieces && lt_vocab_pieces(v, pieces, need, sizes, &need) == LT_OK, "need %zu", need);
    CHECK(lt_vocab_pieces(v, pieces, need, NULL, &need) == LT_E_ARG, "no place for sizes");
    size_t at = 0;
    for (int i = 0; i < 'x'; i++)
        at += sizes[i];
    CHECK(pieces[at] == 'x', "%c", pieces[at]);
    lt_vocab_close(v);
}

/* However the bytes are cut, the stream gives what it gives for the whole, and the whole is as stated. */
static void test_utf8_stream(void)
{
    static const char *const cases[][2] = {
        {"a\u00E9\u4E2D\U0001F642z", "a\u00E9\u4E2D\U0001F642z"},
        {"\xFFz", "\uFFFDz"},
        {"\xE4\xB8z", "\uFFFDz"},
        {"\xC0\xAF", "\uFFFD\uFFFD"},
        {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
        {"\xF0\x9F\x99\xE4\xB8\xAD", "\uFFFD\u4E2D"},
        {"\x80\x80", "\uFFFD\uFFFD"},
        {"\xF4\x90\x80\x80q", "\uFFFD\uFFFD\uFFFD\uFFFDq"},
        {"\xE4\xB8", ""},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (uint32_t step = 1; step <= 6; step++) {
            lt_utf8_stream s = {0};
            char out[128];
            uint32_t n = (uint32_t)strlen(cases[c][0]), n_out = 0;
            for (uint32_t at = 0; at < n; at += step)
                n_out += lt_utf8_feed(&s, cases[c][0] + at, at + step < n ? step : n - at, out + n_out);
            CHECK(n_out == strlen(cases[c][1]) && memcmp(out, cases[c][1], n_out) == 0, "case %zu, step %u: \"%.*s\"", c, step, (int)n_out,
                  out);
        }
}

/* ---- hostile surroundings ----------------------------------------------------------------------------------------- */

static const char long_text[] = "ababababccc aa aaabcdabcdd <|im_end|> abababababababababababababababababababababababababab cc xyz";

static void test_failing_allocations(void)
{
    static char text[80 * (sizeof long_text - 1)]; /* long enough for the cache of pieces */
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = long_text[i % (sizeof long_text - 1)];
    for (int spm = 0; spm < 2; spm++) {
        lt_vocab *v;
        const char *path = write_vocab(&(wishes){.model = spm ? "llama" : NULL});
        int64_t before = lt_alloc_count();
        CHECK(open_path(path, &v) == LT_OK, "%s", lt_last_error());
        int64_t n_allocs = lt_alloc_count() - before;
        for (int64_t i = 1; i <= n_allocs; i++) {
            lt_vocab *other = NULL;
            lt_fail_alloc_at(i);
            CHECK(open_path(path, &other) == LT_E_NOMEM && other == NULL, "allocation %d", (int)i);
        }
        size_t n_ids = 0;
        before = lt_alloc_count();
        CHECK(lt_tokenize(v, text, sizeof text, 3, ids, MAX_IDS, &n_ids) == LT_OK, "%s", lt_last_error());
        n_allocs = lt_alloc_count() - before;
        for (int64_t i = 1; i <= n_allocs; i++) {
            size_t need = 0;
            lt_fail_alloc_at(i);
            CHECK(lt_tokenize(v, text, sizeof text, 3, ids, MAX_IDS, &need) == LT_E_NOMEM && need == 0, "allocation %d", (int)i);
        }
        lt_fail_alloc_at(0);
        lt_vocab_close(v);
    }
}

/* Nothing to assert but that it comes back: the sanitizers watch. */
static void test_mutants(void)
{
    static uint8_t original[1 << 16], mutant[1 << 16];
    for (int spm = 0; spm < 2; spm++) {
        write_vocab(&(wishes){.model = spm ? "llama" : NULL, .bos = 1});
        ssize_t n = pread(scratch()->fd, original, sizeof original, 0), n_opened = 0;
        for (int round = 0; round < N_MUTANTS; round++) {
            memcpy(mutant, original, (size_t)n);
            for (uint32_t i = 1 + random_below(4); i > 0; i--)
                mutant[random_below((uint32_t)n)] = (uint8_t)(random_below(2) ? random_below(256) : random_below(8));
            lt_vocab *v = NULL;
            size_t need;
            if (open_path(save_bytes(mutant, (size_t)n), &v) < 0)
                continue;
            n_opened++;
            lt_tokenize(v, long_text, sizeof long_text - 1, random_below(4), ids, MAX_IDS, &need);
            lt_vocab_close(v);
        }
        CHECK(n_opened > 0, "no mutant was served");
    }
}

int main(void)
{
    test_refusals();
    test_repairs();
    test_pretokenizers();
    test_special_tokens();
    test_merging();
    test_round_trip();
    test_buffers();
    test_utf8_stream();
    test_failing_allocations();
    test_mutants();
    unlink(scratch()->path);
    return check_report("test_token");
}
