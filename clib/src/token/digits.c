/* digits.c - numbers cut into threes, from the left or from the right.
 *
 * Where digits are counted from the right, the run is isolated first and its groups are found from its end afterwards: so
 * no rune is looked at once for each group. */
#include "token/splitters.h"

/* \p{N}{1,3} */
static uint32_t match_three_numbers(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_run_of(r, at, end - at > 3 ? at + 3 : end, LT_RUNE_N);
}

uint32_t lt_split_three_numbers(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_three_numbers, r, at, end);
}

/* [0-9][0-9][0-9] */
static uint32_t match_triple(const lt_rune *r, uint32_t at, uint32_t end)
{
    for (uint32_t i = at; i < at + 3; i++)
        if (i >= end || lt_rune_code(r[i]) < '0' || lt_rune_code(r[i]) > '9')
            return at;
    return at + 3;
}

uint32_t lt_split_triples(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_triple, r, at, end);
}

/* Threes from the right end of a range that ends in a rune of the class; other ranges stay whole. */
static uint32_t threes(uint32_t classes, const lt_rune *r, uint32_t at, uint32_t end)
{
    if (!lt_rune_is(r[end - 1], classes))
        return end;
    uint32_t rest = (end - at) % 3;
    return at + (rest ? rest : 3);
}

static uint32_t split_number_threes(const lt_rune *r, uint32_t at, uint32_t end)
{
    return threes(LT_RUNE_N, r, at, end);
}

static uint32_t split_digit_threes(const lt_rune *r, uint32_t at, uint32_t end)
{
    return threes(LT_RUNE_DIGIT, r, at, end);
}

/* \w: letters, marks, numbers, connecting punctuation, letters in circles and boxes. */
static bool is_word(lt_rune r)
{
    static const lt_range others[] = {
        {0x5F, 0x5F},     {0x203F, 0x2040}, {0x2054, 0x2054},   {0x24B6, 0x24E9},   {0xFE33, 0xFE34},
        {0xFE4D, 0xFE4F}, {0xFF3F, 0xFF3F}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189},
    };
    return lt_rune_is(r, LT_RUNE_L | LT_RUNE_M | LT_RUNE_N) || lt_in_ranges(others, sizeof others / sizeof *others, lt_rune_code(r));
}

/* Runs of digits behind which no word goes on: what \d{1,3}(?=(?:\d{3})*\b) covers.  The gaps never end in a digit. */
static uint32_t split_numbers_alone(const lt_rune *r, uint32_t at, uint32_t end)
{
    for (uint32_t i = at; i < end;) {
        uint32_t run_end = lt_run_of(r, i, end, LT_RUNE_DIGIT);
        if (run_end > i && (run_end == end || !is_word(r[run_end])))
            return i > at ? i : run_end;
        i = run_end + 1;
    }
    return end;
}

/* The first place from `at` on that a number of digits divisible by three follows, up to the end of their run; or end. */
static uint32_t first_thousand(const lt_rune *r, uint32_t at, uint32_t end)
{
    for (uint32_t i = at; i < end;) {
        uint32_t run_end = lt_run_of(r, i, end, LT_RUNE_DIGIT);
        if (run_end - i >= 3)
            return run_end - (run_end - i) / 3 * 3;
        i = run_end + (run_end == i);
    }
    return end;
}

/* (?=(\d{3})+(?!\d)) cuts without matching.  First from the first cut of a run of digits to the first of the next ... */
static uint32_t split_thousands(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t first = first_thousand(r, at, end);
    if (first > at)
        return first;
    return first_thousand(r, lt_run_of(r, at, end, LT_RUNE_DIGIT), end);
}

/* ... then after each three digits that more follow. */
static uint32_t split_within_thousands(const lt_rune *r, uint32_t at, uint32_t end)
{
    bool more = end - at > 3;
    for (uint32_t i = at; more && i < at + 4; i++)
        more = lt_rune_is(r[i], LT_RUNE_DIGIT);
    return more ? at + 3 : end;
}

const lt_splitter lt_pre_superbpe[3] = {lt_split_number_runs, split_thousands, split_within_thousands};
const lt_splitter lt_pre_tiny_aya[3] = {split_numbers_alone, split_digit_threes, lt_split_gpt4o};
const lt_splitter lt_pre_afmoe[4] = {lt_split_number_runs, split_number_threes, lt_split_asian_runs, lt_split_deepseek3_words};
