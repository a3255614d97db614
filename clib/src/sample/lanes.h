/* lanes.h - LT_WIDTH floats at a time in compiler vectors, so that plain C gets the machine's SIMD without being at the mercy
 * of the auto-vectoriser.  Lane-wise operations only: the results are those of scalar code. */
#ifndef LT_SAMPLE_LANES_H
#define LT_SAMPLE_LANES_H

#include <stdint.h>
#include <string.h>

#ifndef LT_WIDTH
#define LT_WIDTH 4
#endif

typedef float lt_fv __attribute__((vector_size(4 * LT_WIDTH)));
typedef int32_t lt_iv __attribute__((vector_size(4 * LT_WIDTH)));

static inline lt_fv lt_load(const float *p)
{
    lt_fv v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void lt_store(float *p, lt_fv v)
{
    memcpy(p, &v, sizeof v);
}

static inline lt_fv lt_all(float x)
{
    return (lt_fv){0} + x;
}

static inline lt_fv lt_select(lt_iv mask, lt_fv yes, lt_fv no)
{
    return (lt_fv)(((lt_iv)yes & mask) | ((lt_iv)no & ~mask));
}

static inline lt_fv lt_max(lt_fv a, lt_fv b)
{
    return lt_select(a > b, a, b);
}

static inline float lt_max_lane(lt_fv v)
{
    float max = v[0];
    for (int i = 1; i < LT_WIDTH; i++)
        max = v[i] > max ? v[i] : max;
    return max;
}

#endif
