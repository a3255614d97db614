/* splitters.c - the patterns of the GPT-2 and Llama 3 families.
 *
 * Each function names the pattern it carries out.  A rune of invalid UTF-8 has no class, so it counts as "none of space,
 * letter, number". */
#include "token/splitters.h"

/* 's|'t|'re|'ve|'m|'ll|'d, as they are written here. */
static uint32_t small_contraction(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t n = lt_contraction(r, at, end);
    for (uint32_t i = at + 1; i < at + n; i++)
        if (lt_rune_code(r[i]) < 'a' || lt_rune_code(r[i]) > 'z')
            return 0;
    return n;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
uint32_t lt_split_words(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t n = small_contraction(r, at, end);
    if (n)
        return at + n;
    uint32_t word = at + (lt_rune_code(r[at]) == ' ' && end - at > 1);
    if (lt_rune_is(r[word], LT_RUNE_L))
        return lt_run_of(r, word, end, LT_RUNE_L);
    if (lt_rune_is(r[word], LT_RUNE_N))
        return lt_run_of(r, word, end, LT_RUNE_N);
    if (!lt_rune_is(r[word], LT_WORDLESS))
        return lt_run_of_none(r, word, end, LT_WORDLESS);
    return lt_space_run(at, lt_run_of(r, at, end, LT_RUNE_SPACE), end);
}

/* What the patterns after Llama 3's differ in. */
typedef struct {
    bool contractions; /* (?i:'s|'t|'re|'ve|'m|'ll|'d) come first */
    bool phrases;      /* a word is letters with their marks, and goes on after a single space */
    uint32_t letters;  /* classes of a word's runes */
    uint32_t max_digits;
    lt_tail tail;
} rules;

/* \p{L}\p{M}*(?: \p{L}\p{M}*)*, again and again. */
static uint32_t phrase_end(const lt_rune *r, uint32_t at, uint32_t end)
{
    while (at < end) {
        if (lt_rune_is(r[at], LT_RUNE_L | LT_RUNE_M))
            at++;
        else if (lt_rune_code(r[at]) == ' ' && end - at > 1 && lt_rune_is(r[at + 1], LT_RUNE_L))
            at += 2;
        else
            break;
    }
    return at;
}

/* contraction|[^\r\n\p{L}\p{N}]?[letters]+|\p{N}{1,max_digits}| ?[^\s\p{L}\p{N}]+ tail|\s*[\r\n]+|\s+(?!\S)|\s+ */
static inline uint32_t split(rules k, const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t n = k.contractions ? lt_contraction(r, at, end) : 0;
    if (n)
        return at + n;
    if (lt_rune_is(r[at], LT_RUNE_N))
        return lt_run_of(r, at, end - at > k.max_digits ? at + k.max_digits : end, LT_RUNE_N);
    uint32_t word = at;
    if (!lt_rune_is(r[at], k.letters) && !lt_is_newline(r[at]) && end - at > 1)
        word++;
    if (lt_rune_is(r[word], k.letters))
        return k.phrases ? phrase_end(r, word, end) : lt_run_of(r, word, end, k.letters);
    return lt_split_signs(r, at, end, LT_WORDLESS | k.letters, k.tail);
}

uint32_t lt_split_llama3(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){true, false, LT_RUNE_L, 3, LT_TAIL_LINES}, r, at, end);
}

uint32_t lt_split_qwen2(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){true, false, LT_RUNE_L, 1, LT_TAIL_LINES}, r, at, end);
}

static uint32_t split_qwen35(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){true, false, LT_RUNE_L | LT_RUNE_M, 1, LT_TAIL_LINES}, r, at, end);
}

static uint32_t split_any_digits(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){true, false, LT_RUNE_L, UINT32_MAX, LT_TAIL_LINES}, r, at, end);
}

static uint32_t split_seed_coder(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){true, false, LT_RUNE_L, 1, LT_TAIL_NONE}, r, at, end);
}

static uint32_t split_exaone_moe(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){true, true, LT_RUNE_L, 1, LT_TAIL_ONE_OF_THOSE}, r, at, end);
}

static uint32_t split_no_contractions(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){false, false, LT_RUNE_L, 1, LT_TAIL_LINES}, r, at, end);
}

/* Runs of spaces without a newline by powers of two: \s{512}(?!\S)|\s{256}(?!\S)|...|\s{4}(?!\S)|\s{1,2}(?!\S)|\s.  A run
 * behind which a word stands has already lost its last space to it, so that nothing but its length counts. */
static uint32_t split_space_powers(const lt_rune *r, uint32_t at, uint32_t end)
{
    if (!lt_rune_is(r[at], LT_RUNE_SPACE) || !lt_rune_is(r[end - 1], LT_RUNE_SPACE) || lt_is_newline(r[end - 1]))
        return end;
    uint32_t n = 512;
    while (n > end - at)
        n /= 2;
    return at + n;
}

/* \p{N} */
static uint32_t match_number(const lt_rune *r, uint32_t at, uint32_t end)
{
    return at + lt_rune_is(r[at], LT_RUNE_N);
}

uint32_t lt_split_number(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_number, r, at, end);
}

/* \p{N}+ */
static uint32_t match_number_run(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_run_of(r, at, end, LT_RUNE_N);
}

uint32_t lt_split_number_runs(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_number_run, r, at, end);
}

static bool is_mark(lt_rune r)
{
    uint32_t c = lt_rune_code(r);
    return lt_rune_is(r, LT_RUNE_P) || c == '$' || c == '+' || c == '<' || c == '=' || c == '>' || c == '^' || c == '~' || c == '|';
}

/* [\p{P}$+<=>^~|]+ */
static uint32_t match_marks(const lt_rune *r, uint32_t at, uint32_t end)
{
    while (at < end && is_mark(r[at]))
        at++;
    return at;
}

static uint32_t split_marks(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_marks, r, at, end);
}

/* [\p{P}$+<=>^~|`]+ */
static uint32_t match_marks_backtick(const lt_rune *r, uint32_t at, uint32_t end)
{
    while (at < end && (is_mark(r[at]) || lt_rune_code(r[at]) == '`'))
        at++;
    return at;
}

static uint32_t split_marks_backtick(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_marks_backtick, r, at, end);
}

/* A space run that reaches `end` loses nothing to the word behind it: a splitter sees only its own range. */
const lt_splitter lt_pre_llama3[1] = {lt_split_llama3};
const lt_splitter lt_pre_qwen2[1] = {lt_split_qwen2};
const lt_splitter lt_pre_qwen35[1] = {split_qwen35};
const lt_splitter lt_pre_seed_coder[1] = {split_seed_coder};
const lt_splitter lt_pre_exaone_moe[1] = {split_exaone_moe};
const lt_splitter lt_pre_ufakzeka[1] = {split_no_contractions};
const lt_splitter lt_pre_jais2[2] = {lt_split_llama3, split_space_powers};
const lt_splitter lt_pre_minicpm5[2] = {lt_split_three_numbers, split_any_digits};
const lt_splitter lt_pre_laguna[2] = {lt_split_lines, lt_split_qwen2};
const lt_splitter lt_pre_gpt2[1] = {lt_split_words};
const lt_splitter lt_pre_starcoder[2] = {lt_split_number, lt_split_words};
const lt_splitter lt_pre_falcon[3] = {split_marks_backtick, lt_split_words, lt_split_triples};
const lt_splitter lt_pre_default[4] = {split_marks, lt_split_words, lt_split_number_runs, lt_split_triples};
