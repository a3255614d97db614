/* letters.h - letters without case and accents. */
#ifndef LT_LETTERS_H
#define LT_LETTERS_H

#include <stdbool.h>
#include <stdint.h>

/* Canonical decomposition less nonspacing marks: writes up to three code points, returns how many. */
unsigned lt_without_accents(uint32_t code_point, uint32_t out[3]);

/* Lower case: writes up to two code points (only a capital I with a dot above has two), returns how many. */
unsigned lt_lower_case(uint32_t code_point, uint32_t out[2]);

#endif
