/* rope.h - rotary frequencies of a model's layers. */
#ifndef LT_ROPE_H
#define LT_ROPE_H

#include "models/model.h"

/* Fills frequency[n_rot/2]; factors: the file's per-frequency divisors or NULL.  Returns the magnitude of sine and cosine. */
float lt_rope_frequencies(const lt_hparams *h, const lt_rope_kind *kind, const float *factors, float *frequency);

#endif
