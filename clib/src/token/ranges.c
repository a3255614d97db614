/* ranges.c - patterns over explicit code points: scripts, lines, what Bloom and Chameleon list. */
#include "token/splitters.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* End of the run of runes in the ranges that starts at `at`. */
static inline uint32_t run_in(const lt_range *ranges, size_t n, const lt_rune *r, uint32_t at, uint32_t end)
{
    while (at < end && lt_in_ranges(ranges, n, lt_rune_code(r[at])))
        at++;
    return at;
}

/* [Han, kana]+ of DeepSeek V3 */
static uint32_t match_han_kana(const lt_rune *r, uint32_t at, uint32_t end)
{
    static const lt_range ranges[] = {{0x3040, 0x30FF}, {0x4E00, 0x9FA5}};
    return run_in(ranges, COUNT(ranges), r, at, end);
}

uint32_t lt_split_han_kana(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_han_kana, r, at, end);
}

/* [scripts without spaces between words]+ of AFMoE */
static uint32_t match_asian(const lt_rune *r, uint32_t at, uint32_t end)
{
    static const lt_range ranges[] = {
        {0x0E40, 0x0EFF}, {0x1000, 0x109F}, {0x1100, 0x11FF}, {0x1780, 0x17FF}, {0x2F00, 0x2FDF}, {0x3040, 0x30FF}, {0x3400, 0x4DBF},
        {0x4E00, 0x9FFF}, {0xA9E0, 0xA9FF}, {0xAA60, 0xAA7F}, {0xAC00, 0xD7AF}, {0xF900, 0xFAFF}, {0xFF65, 0xFF9F},
    };
    return run_in(ranges, COUNT(ranges), r, at, end);
}

uint32_t lt_split_asian_runs(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_asian, r, at, end);
}

/* [Hangul]+|[Chinese signs]+|[Bopomofo]+|[Han, kana]+ of Youtu */
static uint32_t match_youtu(const lt_rune *r, uint32_t at, uint32_t end)
{
    static const lt_range hangul[] = {{0x3131, 0x318E}, {0xAC00, 0xD7A3}};
    static const lt_range signs[] = {{0x2014, 0x2014}, {0x2018, 0x2019}, {0x201C, 0x201D}, {0x2026, 0x2026}, {0x3001, 0x303F},
                                     {0xFE30, 0xFE4F}, {0xFF01, 0xFF01}, {0xFF0C, 0xFF0C}, {0xFF1A, 0xFF1B}};
    static const lt_range bopomofo[] = {{0x3105, 0x312F}};
    uint32_t from = at;
    at = run_in(hangul, COUNT(hangul), r, at, end);
    if (at == from)
        at = run_in(signs, COUNT(signs), r, at, end);
    if (at == from)
        at = run_in(bopomofo, COUNT(bopomofo), r, at, end);
    return at > from ? at : match_han_kana(r, at, end);
}

static uint32_t split_youtu(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_youtu, r, at, end);
}

/*  ?[^(\s|.,!?…。，、।۔،)]+ */
static uint32_t match_bloom(const lt_rune *r, uint32_t at, uint32_t end)
{
    static const lt_range signs[] = {{'!', '!'},       {'(', ')'},       {',', ','},       {'.', '.'},
                                     {'?', '?'},       {'|', '|'},       {0x060C, 0x060C}, {0x06D4, 0x06D4},
                                     {0x0964, 0x0964}, {0x2026, 0x2026}, {0x3001, 0x3002}, {0xFF0C, 0xFF0C}};
    uint32_t word = at + (lt_rune_code(r[at]) == ' '), i = word;
    while (i < end && !lt_rune_is(r[i], LT_RUNE_SPACE) && !lt_in_ranges(signs, COUNT(signs), lt_rune_code(r[i])))
        i++;
    return i > word ? i : at;
}

static uint32_t split_bloom(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_bloom, r, at, end);
}

uint32_t lt_split_lines(const lt_rune *r, uint32_t at, uint32_t end)
{
    bool newline = lt_rune_code(r[at]) == '\n';
    while (at < end && (lt_rune_code(r[at]) == '\n') == newline)
        at++;
    return at;
}

/* \S+ */
static uint32_t match_spaceless(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_run_of_none(r, at, end, LT_RUNE_SPACE);
}

static uint32_t split_spaceless(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_spaceless, r, at, end);
}

/* ---- Chameleon ---------------------------------------------------------------------------------------------------- */

/* End of the text if it stands at `at`, else `at`. */
static uint32_t match_text(const char *text, const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t i = at;
    for (; *text; text++, i++)
        if (i == end || lt_rune_code(r[i]) != (uint8_t)*text)
            return at;
    return i;
}

/* <sentinel:[0-9]+> */
static uint32_t match_sentinel(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t digits = match_text("<sentinel:", r, at, end), i = digits;
    while (i > at && i < end && lt_rune_code(r[i]) >= '0' && lt_rune_code(r[i]) <= '9')
        i++;
    return i > digits && i < end && lt_rune_code(r[i]) == '>' ? i + 1 : at;
}

/* IMGIMG[A-I]{1,4}Z */
static uint32_t match_image(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t letters = match_text("IMGIMG", r, at, end), i = letters;
    while (i > at && i < end && i < letters + 4 && lt_rune_code(r[i]) >= 'A' && lt_rune_code(r[i]) <= 'I')
        i++;
    return i > letters && i < end && lt_rune_code(r[i]) == 'Z' ? i + 1 : at;
}

/* [\t\n]|    |   */
static uint32_t match_indent(const lt_rune *r, uint32_t at, uint32_t end)
{
    if (lt_rune_code(r[at]) == '\t' || lt_rune_code(r[at]) == '\n')
        return at + 1;
    uint32_t four = match_text("    ", r, at, end);
    return four > at ? four : match_text("  ", r, at, end);
}

/* [\p{P} and the signs of ASCII] */
static uint32_t match_sign(const lt_rune *r, uint32_t at, uint32_t end)
{
    return at + (lt_rune_is(r[at], LT_RUNE_P) || (lt_rune_code(r[at]) < 0x80 && lt_rune_is(r[at], LT_RUNE_S)));
}

static uint32_t split_sentinel(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_sentinel, r, at, end);
}

static uint32_t split_image(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_image, r, at, end);
}

static uint32_t split_indent(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_indent, r, at, end);
}

static uint32_t split_sign(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_sign, r, at, end);
}

const lt_splitter lt_pre_lines[1] = {lt_split_lines};
const lt_splitter lt_pre_whitespace[1] = {split_spaceless};
const lt_splitter lt_pre_youtu[2] = {split_youtu, lt_split_gpt4o_one_digit};
const lt_splitter lt_pre_bloom[1] = {split_bloom};
const lt_splitter lt_pre_viking[2] = {split_bloom, lt_split_number};
const lt_splitter lt_pre_chameleon[6] = {split_sentinel, split_image, split_indent, lt_split_number, split_sign, lt_split_words};
