/* letters.c - looks letters up in the table of folds; Hangul syllables are taken apart by rule. */
#include "token/letters.h"

#include <stddef.h>

#include "token/runes.h"
#include "token/unicode_tables.h"

static const lt_unicode_fold *find(uint32_t code_point)
{
    size_t low = 0, high = lt_n_unicode_folds;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (lt_unicode_folds[middle].code < code_point)
            low = middle + 1;
        else
            high = middle;
    }
    return low < lt_n_unicode_folds && lt_unicode_folds[low].code == code_point ? &lt_unicode_folds[low] : NULL;
}

/* A syllable's leading consonant, vowel and perhaps trailing consonant. */
static unsigned split_hangul(uint32_t syllable, uint32_t out[3])
{
    enum { FIRST_LEAD = 0x1100, FIRST_VOWEL = 0x1161, NO_TRAIL = 0x11A7, N_VOWELS = 21, N_TRAILS = 28 };
    out[0] = FIRST_LEAD + syllable / (N_VOWELS * N_TRAILS);
    out[1] = FIRST_VOWEL + syllable / N_TRAILS % N_VOWELS;
    out[2] = NO_TRAIL + syllable % N_TRAILS;
    return out[2] == NO_TRAIL ? 2 : 3;
}

unsigned lt_without_accents(uint32_t code_point, uint32_t out[3])
{
    enum { FIRST_SYLLABLE = 0xAC00, LAST_SYLLABLE = 0xD7A3 };
    if (code_point >= 0x80 && lt_rune_is(lt_rune_of(code_point), LT_RUNE_ACCENT))
        return 0;
    if (code_point >= FIRST_SYLLABLE && code_point <= LAST_SYLLABLE)
        return split_hangul(code_point - FIRST_SYLLABLE, out);
    const lt_unicode_fold *fold = code_point < 0x80 ? NULL : find(code_point);
    out[0] = code_point;
    if (!fold)
        return 1;
    unsigned n = 0;
    for (; n < 3 && fold->base[n]; n++)
        out[n] = fold->base[n];
    return n;
}

unsigned lt_lower_case(uint32_t code_point, uint32_t out[2])
{
    enum { CAPITAL_I_WITH_DOT = 0x130, DOT_ABOVE = 0x307 };
    const lt_unicode_fold *fold = code_point < 0x80 ? NULL : find(code_point);
    bool ascii_capital = code_point >= 'A' && code_point <= 'Z';
    out[0] = ascii_capital ? code_point | 0x20 : fold ? fold->lower : code_point;
    out[1] = DOT_ABOVE;
    return code_point == CAPITAL_I_WITH_DOT ? 2 : 1;
}
