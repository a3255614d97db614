/* unicode_tables.h - the class of every code point: stage one names a block of 256, stage two holds the blocks.
 *
 *     class = lt_unicode_class[lt_unicode_block[cp >> 8] * 256 + (cp & 255)]      cp <= 0x10FFFF
 *
 * The bits are LT_RUNE_* of runes.h. */
#ifndef LT_UNICODE_TABLES_H
#define LT_UNICODE_TABLES_H

#include <stdint.h>

extern const uint8_t lt_unicode_block[];
extern const uint8_t lt_unicode_class[];

#endif
