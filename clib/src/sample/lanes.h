/* lanes.h - four floats at a time in compiler vectors, so that plain C gets the machine's baseline SIMD without being at
 * the mercy of the auto-vectoriser.  Lane-wise operations only: the results are those of scalar code. */
#ifndef LT_SAMPLE_LANES_H
#define LT_SAMPLE_LANES_H

#include <stdint.h>
#include <string.h>

typedef float lt_f4 __attribute__((vector_size(16)));
typedef int32_t lt_i4 __attribute__((vector_size(16)));

static inline lt_f4 lt_load4(const float *p)
{
    lt_f4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void lt_store4(float *p, lt_f4 v)
{
    memcpy(p, &v, sizeof v);
}

static inline lt_f4 lt_all4(float x)
{
    return (lt_f4){x, x, x, x};
}

static inline lt_f4 lt_select4(lt_i4 mask, lt_f4 yes, lt_f4 no)
{
    return (lt_f4)(((lt_i4)yes & mask) | ((lt_i4)no & ~mask));
}

static inline lt_f4 lt_max4(lt_f4 a, lt_f4 b)
{
    return lt_select4(a > b, a, b);
}

static inline float lt_max_lane(lt_f4 v)
{
    float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
    return a > b ? a : b;
}

#endif
