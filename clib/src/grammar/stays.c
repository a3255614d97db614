/* stays.c - within a string nearly every character leads back to where it came from.  Where a state's mask is computed, whole
 * subtrees of pieces that consist of nothing else need not be walked.
 *
 * "Back" means to a state with the same stand-in: as many rounds away from any bound as the longest token has bytes, so a
 * token made of such characters is read to its end. */
#include "grammar/grammar.h"

typedef struct {
    uint8_t lead_low, lead_high, low, high; /* first and second byte */
    uint8_t more;                           /* bytes after these */
} utf8_form;

static const utf8_form forms[] = {
    {0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1}, {0xE1, 0xEC, 0x80, 0xBF, 1}, {0xED, 0xED, 0x80, 0x9F, 1},
    {0xEE, 0xEF, 0x80, 0xBF, 1}, {0xF0, 0xF0, 0x90, 0xBF, 2}, {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2},
};

/* 1: the state has that stand-in. */
static int is_back(lt_grammar *g, uint32_t state, uint32_t home)
{
    uint32_t stand_in = LT_NONE;
    if (state >= LT_STATE_OVER)
        return 0;
    LT_TRY(lt_state_stand_in(g, state, &stand_in));
    return stand_in == home;
}

/* 1: a byte of low .. high, then `more` continuation bytes, always lead back.  As deep as a character is long. */
static int leads_back(lt_grammar *g, uint32_t state, uint32_t home, uint32_t low, uint32_t high, uint32_t more)
{
    uint32_t last = 0;
    if (state >= LT_STATE_OVER)
        return 0;
    LT_TRY(lt_state_expand(g, state));
    for (uint32_t b = low; b <= high; b++) {
        uint32_t to = lt_edge_of(g, state, (uint8_t)b);
        if (b > low && to == last)
            continue;
        int back = more ? leads_back(g, to, home, 0x80, 0xBF, more - 1) : is_back(g, to, home);
        if (back <= 0)
            return back;
        last = to;
    }
    return 1;
}

static int note(uint64_t stays[3], uint32_t byte, int back)
{
    LT_TRY(back);
    if (back)
        stays[byte < 0x80 ? byte >> 6 : 2] |= 1ull << (byte & 63);
    return LT_OK;
}

static int high_leads(lt_grammar *g, uint32_t state, uint32_t home, uint64_t stays[3])
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const utf8_form *f = &forms[i];
        uint32_t last = 0;
        int back = 0;
        for (uint32_t lead = f->lead_low; lead <= f->lead_high; lead++) {
            uint32_t to = lt_edge_of(g, state, (uint8_t)lead);
            if (lead == f->lead_low || to != last)
                back = leads_back(g, to, home, f->low, f->high, f->more);
            LT_TRY(note(stays, lead, back));
            last = to;
        }
    }
    return LT_OK;
}

int lt_state_find_stays(lt_grammar *g, uint32_t state)
{
    uint64_t stays[3] = {0, 0, 0};
    uint32_t home = LT_NONE;
    if (g->pool.states.at[state].stays_known)
        return LT_OK;
    LT_TRY(lt_state_expand(g, state));
    LT_TRY(lt_state_stand_in(g, state, &home));
    for (uint32_t b = 0; b < 0x80; b++)
        LT_TRY(note(stays, b, is_back(g, lt_edge_of(g, state, (uint8_t)b), home)));
    LT_TRY(high_leads(g, state, home, stays));
    int all = leads_back(g, state, home, 0x80, 0xFF, 0);
    LT_TRY(all);
    lt_state *s = &g->pool.states.at[state];
    for (int i = 0; i < 3; i++)
        s->stays[i] = stays[i];
    s->high_stays = (uint8_t)all;
    s->stays_known = 1;
    return LT_OK;
}
