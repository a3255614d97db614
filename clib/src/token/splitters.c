/* splitters.c - the patterns of the GPT-2 and Llama 3 families.
 *
 * Each function names the pattern it carries out.  A rune of invalid UTF-8 has no class, so it counts as "none of space,
 * letter, number". */
#include "token/splitters.h"

enum { WORDLESS = LT_RUNE_SPACE | LT_RUNE_L | LT_RUNE_N };

static inline uint32_t run_of(const lt_rune *r, uint32_t at, uint32_t end, uint32_t classes)
{
    while (at < end && lt_rune_is(r[at], classes))
        at++;
    return at;
}

static inline uint32_t run_of_none(const lt_rune *r, uint32_t at, uint32_t end, uint32_t classes)
{
    while (at < end && !lt_rune_is(r[at], classes))
        at++;
    return at;
}

static inline bool is_newline(lt_rune r)
{
    return lt_rune_code(r) == '\n' || lt_rune_code(r) == '\r';
}

/* 's 't 'm 'd 're 've 'll: length of the one that starts at `at`, or 0; fold is 0x20 to take capitals too. */
static uint32_t contraction(const lt_rune *r, uint32_t at, uint32_t end, uint32_t fold)
{
    if (lt_rune_code(r[at]) != '\'' || end - at < 2)
        return 0;
    uint32_t a = lt_rune_code(r[at + 1]) | fold;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    uint32_t b = end - at < 3 ? 0 : lt_rune_code(r[at + 2]) | fold;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* \s+(?!\S)|\s+ at a space: all of the run, less its last rune when a word follows. */
static uint32_t space_run(uint32_t at, uint32_t run_end, uint32_t end)
{
    return run_end == end || run_end - at == 1 ? run_end : run_end - 1;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static uint32_t split_words(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t n = contraction(r, at, end, 0);
    if (n)
        return at + n;
    uint32_t word = at + (lt_rune_code(r[at]) == ' ' && end - at > 1);
    if (lt_rune_is(r[word], LT_RUNE_L))
        return run_of(r, word, end, LT_RUNE_L);
    if (lt_rune_is(r[word], LT_RUNE_N))
        return run_of(r, word, end, LT_RUNE_N);
    if (!lt_rune_is(r[word], WORDLESS))
        return run_of_none(r, word, end, WORDLESS);
    return space_run(at, run_of(r, at, end, LT_RUNE_SPACE), end);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,max_digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static inline uint32_t split_llama3(const lt_rune *r, uint32_t at, uint32_t end, uint32_t max_digits)
{
    uint32_t n = contraction(r, at, end, 0x20);
    if (n)
        return at + n;
    if (lt_rune_is(r[at], LT_RUNE_L))
        return run_of(r, at, end, LT_RUNE_L);
    if (lt_rune_is(r[at], LT_RUNE_N))
        return run_of(r, at, end - at > max_digits ? at + max_digits : end, LT_RUNE_N);
    if (end - at > 1 && !is_newline(r[at]) && lt_rune_is(r[at + 1], LT_RUNE_L))
        return run_of(r, at + 1, end, LT_RUNE_L);
    uint32_t word = at + (lt_rune_code(r[at]) == ' ' && end - at > 1);
    if (!lt_rune_is(r[word], WORDLESS)) {
        word = run_of_none(r, word, end, WORDLESS);
        while (word < end && is_newline(r[word]))
            word++;
        return word;
    }
    uint32_t run_end = run_of(r, at, end, LT_RUNE_SPACE);
    for (uint32_t i = run_end; i > at; i--)
        if (is_newline(r[i - 1]))
            return i;
    return space_run(at, run_end, end);
}

static uint32_t split_three_digits(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split_llama3(r, at, end, 3);
}

static uint32_t split_one_digit(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split_llama3(r, at, end, 1);
}

/* \p{N} */
static uint32_t match_number(const lt_rune *r, uint32_t at, uint32_t end)
{
    return at + lt_rune_is(r[at], LT_RUNE_N);
}

static uint32_t split_number(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_number, r, at, end);
}

/* \p{N}+ */
static uint32_t match_number_run(const lt_rune *r, uint32_t at, uint32_t end)
{
    return run_of(r, at, end, LT_RUNE_N);
}

uint32_t lt_split_number_runs(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_number_run, r, at, end);
}

/* [0-9][0-9][0-9] */
static uint32_t match_three_digits(const lt_rune *r, uint32_t at, uint32_t end)
{
    for (uint32_t i = at; i < at + 3; i++)
        if (i >= end || lt_rune_code(r[i]) < '0' || lt_rune_code(r[i]) > '9')
            return at;
    return at + 3;
}

static uint32_t split_digit_triples(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_three_digits, r, at, end);
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
const lt_splitter lt_split_llama3[1] = {split_three_digits};
const lt_splitter lt_split_qwen2[1] = {split_one_digit};
const lt_splitter lt_split_gpt2[1] = {split_words};
const lt_splitter lt_split_starcoder[2] = {split_number, split_words};
const lt_splitter lt_split_falcon[3] = {split_marks_backtick, split_words, split_digit_triples};
const lt_splitter lt_split_default[4] = {split_marks, split_words, lt_split_number_runs, split_digit_triples};
