/* unicode_tables.h - the class of every code point: stage one names a block of 256, stage two holds the blocks.
 *
 *     class = lt_unicode_class[lt_unicode_block[cp >> 8] * 256 + (cp & 255)]      cp <= 0x10FFFF
 *
 * The bits are LT_RUNE_* of runes.h. */
#ifndef LT_UNICODE_TABLES_H
#define LT_UNICODE_TABLES_H

#include <stdint.h>

extern const uint8_t lt_unicode_block[];
extern const uint16_t lt_unicode_class[];

/* What letters are without accents (canonical decomposition less nonspacing marks) and in lower case, ascending by code
 * point, where either is not the letter itself.  Hangul syllables are not in it: theirs is a rule. */
typedef struct {
    uint32_t code, base[3], lower; /* base: padded with 0 */
} lt_unicode_fold;
extern const lt_unicode_fold lt_unicode_folds[];
extern const uint32_t lt_n_unicode_folds;

#endif
