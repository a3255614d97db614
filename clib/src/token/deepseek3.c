/* deepseek3.c - the pretokenisers of DeepSeek Coder and DeepSeek V3, and their descendants. */
#include "token/splitters.h"

static bool is_ascii_sign(uint32_t code)
{
    return code > ' ' && code < 0x7F && !lt_is_ascii_letter(code) && !(code >= '0' && code <= '9');
}

/* [ASCII sign][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+, `at` when none of these is there; *signs: the last. */
static inline uint32_t match_word(const lt_rune *r, uint32_t at, uint32_t end, bool *signs)
{
    *signs = false;
    uint32_t word = at + 1;
    if (is_ascii_sign(lt_rune_code(r[at])))
        while (word < end && lt_is_ascii_letter(lt_rune_code(r[word])))
            word++;
    if (word > at + 1)
        return word;
    word = at;
    if (!lt_rune_is(r[at], LT_RUNE_L | LT_RUNE_M | LT_RUNE_P | LT_RUNE_S) && !lt_is_newline(r[at]) && end - at > 1)
        word++;
    if (lt_rune_is(r[word], LT_RUNE_L | LT_RUNE_M))
        return lt_run_of(r, word, end, LT_RUNE_L | LT_RUNE_M);
    word = at + (lt_rune_code(r[at]) == ' ' && end - at > 1);
    *signs = lt_rune_is(r[word], LT_RUNE_P | LT_RUNE_S);
    return *signs ? lt_run_of(r, word, end, LT_RUNE_P | LT_RUNE_S) : at;
}

/* word|signs[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static uint32_t match_deepseek3(const lt_rune *r, uint32_t at, uint32_t end)
{
    bool signs;
    uint32_t e = match_word(r, at, end, &signs);
    if (e > at)
        return signs ? lt_tail_end(r, e, end, LT_TAIL_LINES) : e;
    return lt_rune_is(r[at], LT_RUNE_SPACE) ? lt_line_run(r, at, end) : at;
}

uint32_t lt_split_deepseek3_words(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_deepseek3, r, at, end);
}

/* word|signs|[\r\n]|\s+(?!\S)|\s+ */
static uint32_t match_spark(const lt_rune *r, uint32_t at, uint32_t end)
{
    bool signs;
    uint32_t e = match_word(r, at, end, &signs);
    if (e > at || lt_is_newline(r[at]))
        return e > at ? e : at + 1;
    return lt_rune_is(r[at], LT_RUNE_SPACE) ? lt_space_run(at, lt_run_of(r, at, end, LT_RUNE_SPACE), end) : at;
}

static uint32_t split_spark(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_spark, r, at, end);
}

/* \s?\p{L}+ */
static uint32_t match_letters(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t word = at + lt_rune_is(r[at], LT_RUNE_SPACE), e = lt_run_of(r, word, end, LT_RUNE_L);
    return e > word ? e : at;
}

/* \s?\p{P}+ */
static uint32_t match_signs(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t sign = at + lt_rune_is(r[at], LT_RUNE_SPACE), e = lt_run_of(r, sign, end, LT_RUNE_P);
    return e > sign ? e : at;
}

static uint32_t split_letters(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_letters, r, at, end);
}

static uint32_t split_signs(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_signs, r, at, end);
}

const lt_splitter lt_pre_deepseek3[3] = {lt_split_three_numbers, lt_split_han_kana, lt_split_deepseek3_words};
const lt_splitter lt_pre_spark[3] = {lt_split_number, lt_split_han_kana, split_spark};
const lt_splitter lt_pre_deepseek_coder[5] = {lt_split_newline, split_letters, split_signs, lt_split_east_asian, lt_split_number};
