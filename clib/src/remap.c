/* remap.c - cells of a sequence that change their position: context shift and self-extend.
 *
 *      shift          k0 k1 [d d d] r0 r1 r2      the n_discard tokens after n_keep go, the rest moves down by as many positions:
 *                     k0 k1 r0 r1 r2              a cell's number is its position again
 *
 *      self-extend    windows of group_w tokens; when one is full and the next token is to be computed, the positions in it are
 *                     divided by group_n (W = 4, G = 2):
 *                     0 1 2 3                     window 0 is full
 *                     0 0 1 1 | 2 3 4 5           window 1 is full
 *                     0 0 1 1   2 2 3 3 | 4 ..    a token's position lags behind its number by half of n_grouped
 *
 * Values stay what they were; keys are turned by the difference.  What a grouped cell holds depends on the ids before it and the
 * number of tokens alone, not on when or in what chunks they came. */
#include "engine.h"

#include <string.h>

#include "core/floats.h"

static int check_seq(const lt_engine *e, int32_t seq)
{
    if (!e || seq < 0 || seq >= e->opts.n_seqs || !e->seqs[seq].open)
        return lt_fail(LT_E_ARG, "sequence %d is not open", seq);
    return LT_OK;
}

/* Why keys cannot be turned to another position; NULL: they can. */
static const char *why_fixed(const lt_model *m)
{
    if (m->embedding.positions)
        return "has learned positions, whose part in a key cannot be changed";
    for (const lt_layer *y = m->layers; y < m->layers + m->h.n_layer; y++)
        if (y->attention.k_norm.late && y->attention.k_norm.norm.weight)
            return "scales keys after their rotation";
    return NULL;
}

bool lt_can_shift(const lt_engine *e)
{
    return !e->n_checkpoints && !why_fixed(&e->model);
}

/* what: the beginning of the sentence. */
static int refuse_turns(const lt_engine *e, const char *what)
{
    LT_TRY(lt_refuse_recurrent(e, what));
    const char *why = why_fixed(&e->model);
    return why ? lt_fail(LT_E_UNSUPPORTED, "%s: %s %s", what, e->model.traits->arch, why) : LT_OK;
}

/* Pages from cell `first` on become the sequence's alone; moves `n` of its cells, by e->turns. */
static int move_cells(lt_engine *e, int32_t seq, int32_t first, int32_t from, int32_t n)
{
    int32_t n_copies, n_pages;
    LT_TRY(lt_kv_own(e->kv, seq, first / LT_PAGE, e->copies, &n_copies));
    for (int32_t i = 0; i < n_copies; i++)
        e->be->ops->copy_page(e->be, e->copies[i].src, e->copies[i].dst);
    const lt_move move = {.pages = lt_kv_table(e->kv, seq, &n_pages),
                          .from = from,
                          .to = first,
                          .n = n,
                          .n_threads = e->opts.n_threads_batch,
                          .turn = e->turns};
    const fenv_t before = lt_usual_floats();
    lt_model_move(&e->model, move);
    lt_restore_floats(before);
    return LT_OK;
}

/* ---- shift ---- */

static int check_shift(const lt_engine *e, int32_t seq, int32_t n_keep, int32_t n_discard)
{
    LT_TRY(check_seq(e, seq));
    const lt_seq *q = &e->seqs[seq];
    LT_TRY(refuse_turns(e, "context shift"));
    if (e->opts.group_n > 1)
        return lt_fail(LT_E_UNSUPPORTED, "sequence %d: with self-extend (group_n %d) a context is not shifted", seq, e->opts.group_n);
    if (q->poisoned)
        return lt_fail(LT_E_ARG, "sequence %d has no finite logits and must be closed", seq);
    if (n_keep < 0 || n_keep >= q->n_computed)
        return lt_fail(LT_E_ARG, "sequence %d: n_keep is %d, must be 0..%d", seq, n_keep, q->n_computed - 1);
    if (n_discard < 1 || n_discard > q->n_computed - n_keep)
        return lt_fail(LT_E_ARG, "sequence %d: n_discard is %d, must be 1..%d", seq, n_discard, q->n_computed - n_keep);
    return LT_OK;
}

/* The ids [n_keep, from) go: those of them that are prompt no longer count as such. */
static void shift_prompt(lt_sampling *s, int32_t n_keep, int32_t from)
{
    const int32_t end = s->n_prompt < from ? s->n_prompt : from;
    s->n_prompt -= end > n_keep ? end - n_keep : 0;
}

int lt_seq_shift(lt_engine *e, int32_t seq, int32_t n_keep, int32_t n_discard)
{
    LT_TRY(check_shift(e, seq, n_keep, n_discard));
    lt_seq *q = &e->seqs[seq];
    const int32_t from = n_keep + n_discard;
    for (int32_t i = 0; i < q->n_computed - from; i++)
        e->turns[i] = -n_discard;
    LT_TRY(move_cells(e, seq, n_keep, from, q->n_computed - from));
    memmove(q->history + n_keep, q->history + from, (size_t)(q->n_total - from) * sizeof *q->history);
    q->n_total -= n_discard;
    q->n_computed -= n_discard;
    shift_prompt(&q->sampling, n_keep, from);
    q->sampling.seed += (uint64_t)n_discard * 0x9e3779b97f4a7c15u; /* positions come again, draws must not */
    lt_kv_trim(e->kv, seq, q->n_computed);
    return LT_OK;
}

/* ---- self-extend ---- */

int lt_check_group(const lt_engine_opts *o)
{
    if (o->group_n < 1)
        return lt_fail(LT_E_ARG, "group_n is %d, must be 1 (off) or more", o->group_n);
    if (o->group_n == 1 && o->group_w != 0)
        return lt_fail(LT_E_ARG, "group_w is %d, must be 0 as group_n is 1", o->group_w);
    if (o->group_n > 1 && (o->group_w < 1 || o->group_w % o->group_n))
        return lt_fail(LT_E_ARG, "group_w is %d, must be a positive multiple of group_n, which is %d", o->group_w, o->group_n);
    return LT_OK;
}

/* Windows and the prices of distances count cells, which stay as many. */
int lt_refuse_group(const lt_engine *e)
{
    const lt_model *m = &e->model;
    if (e->opts.group_n == 1)
        return LT_OK;
    if (m->has_windows || m->traits->positions == LT_ALIBI)
        return lt_fail(LT_E_UNSUPPORTED, "group_n is %d: self-extend is not served for %s, %s", e->opts.group_n, m->traits->arch,
                       m->has_windows ? "some of whose layers see a window only"
                                      : "which has a price for distance in the place of rotation");
    return refuse_turns(e, "self-extend");
}

static bool stands_at_boundary(const lt_engine *e, const lt_seq *q)
{
    return e->opts.group_n > 1 && q->n_computed - q->n_grouped == e->opts.group_w;
}

int32_t lt_window_left(const lt_engine *e, const lt_seq *q)
{
    if (e->opts.group_n == 1)
        return INT32_MAX;
    return stands_at_boundary(e, q) ? e->opts.group_w : e->opts.group_w - (q->n_computed - q->n_grouped);
}

/* The positions n_grouped / G + i of the window, i < W, become n_grouped / G + i / G. */
static int regroup(lt_engine *e, int32_t seq)
{
    lt_seq *q = &e->seqs[seq];
    for (int32_t i = 0; i < e->opts.group_w; i++)
        e->turns[i] = i / e->opts.group_n - i;
    LT_TRY(move_cells(e, seq, q->n_grouped, q->n_grouped, e->opts.group_w));
    q->n_grouped += e->opts.group_w;
    return LT_OK;
}

int lt_regroup_rows(lt_engine *e, const lt_row *rows, int32_t n_rows)
{
    for (int32_t i = 0; i < n_rows; i++)
        if (stands_at_boundary(e, &e->seqs[rows[i].seq]))
            LT_TRY(regroup(e, rows[i].seq));
    return LT_OK;
}

int lt_seq_room(const lt_engine *e, int32_t seq, int32_t *n)
{
    LT_TRY(check_seq(e, seq));
    if (!n)
        return lt_fail(LT_E_ARG, "lt_seq_room: n must not be NULL");
    const lt_seq *q = &e->seqs[seq];
    const int32_t in_context = e->n_ctx - q->n_computed, in_window = lt_window_left(e, q);
    *n = in_context < in_window ? in_context : in_window;
    return LT_OK;
}
