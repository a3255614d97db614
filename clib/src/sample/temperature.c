/* temperature.c - logits are divided by the temperature; by one between temperature - range and temperature + range, the
 * higher the flatter the distribution is, where dynatemp_range says so.  0 and below: the best alone. */
#include "sample/internal.h"

static double dynamic(lt_sampler *s, const lt_sampling *p)
{
    const double low = (double)p->temperature - p->dynatemp_range, high = (double)p->temperature + p->dynatemp_range;
    const int32_t n = lt_count_survivors(s);
    if (n < 2)
        return 1;
    const double share = lt_entropy(s, lt_total_weight(s)) / lt_log(n), floor = low > 0 ? low : 0;
    return floor + (high - floor) * (share > 0 ? lt_exp(p->dynatemp_exponent * lt_log(share)) : p->dynatemp_exponent == 0);
}

void lt_temperature(lt_sampler *s, const lt_call *c)
{
    const bool is_dynamic = c->p->temperature > 0 && c->p->dynatemp_range > 0;
    const double temperature = is_dynamic ? dynamic(s, c->p) : (double)c->p->temperature;
    if (temperature <= 0)
        lt_keep_best(s);
    else
        lt_rank_reweigh(s, s->temperature * temperature);
}
