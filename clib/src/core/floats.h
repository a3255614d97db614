/* floats.h - how floats are computed with: rounded to the nearest, denormals being numbers.
 *
 * A library that is built with -ffast-math changes that for the thread which loads it and for those which this one starts
 * then.  The engine's bits are not to depend on what else the process has loaded. */
#ifndef LT_FLOATS_H
#define LT_FLOATS_H

#include <fenv.h>

/* From here on this thread computes as usual; returns what it did before, for lt_restore_floats. */
static inline fenv_t lt_usual_floats(void)
{
    fenv_t before;
    fegetenv(&before);
    fesetenv(FE_DFL_ENV);
    return before;
}

static inline void lt_restore_floats(fenv_t before)
{
    fesetenv(&before);
}

#endif
