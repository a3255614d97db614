/* checkpoint.c - recurrent layers: where each sequence's state is, and which states are kept for others.
 *
 *      slots    0 .. n_seqs - 1: the open sequences', by their number       n_seqs and on: checkpoints, by theirs (kv.h)
 *
 * While a step runs, copies are made behind the last token of some pages: where this prompt parts from what the tree or another
 * sequence has, which others may well do, too; at the end of the prompt; and behind the last page so far, for whoever goes on with this
 * history.  The last moves along: it takes the place of the one before. */
#include "engine.h"

static int32_t whole_pages(int32_t n)
{
    return n / LT_PAGE * LT_PAGE;
}

static int32_t n_common(const lt_seq *a, const int32_t *ids, int32_t n)
{
    int32_t i = 0;
    while (i < n && i < a->n_total && a->history[i] == ids[i])
        i++;
    return i;
}

void lt_wish_checkpoints(lt_engine *e, lt_seq *q, const int32_t *prompt, int32_t n)
{
    if (!e->n_checkpoints)
        return;
    q->fork = lt_kv_depth(e->kv, q->scope, prompt, n - 1, false);
    q->prompt_end = whole_pages(n - 1);
    for (lt_seq *other = e->seqs; other < e->seqs + e->opts.n_seqs; other++) {
        if (!other->open || other->scope != q->scope)
            continue;
        const int32_t fork = whole_pages(n_common(other, prompt, n - 1));
        if (fork > other->n_computed)
            other->fork = fork;
    }
}

void lt_begin_state(lt_engine *e, int32_t seq, int32_t n_cached)
{
    if (!e->n_checkpoints)
        return;
    const int32_t checkpoint = lt_kv_checkpoint_at(e->kv, seq, n_cached);
    if (checkpoint == LT_NO_CHECKPOINT)
        e->be->ops->clear_state(e->be, seq);
    else
        e->be->ops->copy_state(e->be, e->opts.n_seqs + checkpoint, seq);
}

/* The first place behind `before` where q wants one, INT32_MAX: none. */
static int32_t next_place(const lt_seq *q, int32_t before)
{
    const int32_t places[] = {q->fork, q->prompt_end, q->rolling};
    int32_t next = INT32_MAX;
    for (int32_t i = 0; i < LT_MAX_SAVES; i++)
        if (places[i] > before && places[i] < next)
            next = places[i];
    return next;
}

void lt_plan_saves(lt_engine *e, int32_t seq, lt_span *span)
{
    lt_seq *q = &e->seqs[seq];
    const int32_t end = q->n_computed + span->n_rows;
    if (!e->n_checkpoints)
        return;
    if (whole_pages(end) > q->n_computed) {
        if (q->rolling && q->rolling != q->fork && q->rolling != q->prompt_end)
            lt_kv_drop_checkpoint(e->kv, seq, q->rolling);
        q->rolling = whole_pages(end);
    }
    for (int32_t at = q->n_computed; (at = next_place(q, at)) <= end;) {
        const int32_t checkpoint = lt_kv_take_checkpoint(e->kv);
        if (checkpoint != LT_NO_CHECKPOINT)
            span->saves[span->n_saves++] = (lt_save){at - q->n_computed, e->opts.n_seqs + checkpoint};
    }
}

void lt_keep_saves(lt_engine *e, int32_t seq, const lt_span *span)
{
    for (int32_t i = 0; i < span->n_saves; i++)
        lt_kv_keep_checkpoint(e->kv, seq, span->first_position + span->saves[i].n_rows, span->saves[i].slot - e->opts.n_seqs);
}

int lt_refuse_recurrent(const lt_engine *e, const char *what)
{
    return e->n_checkpoints ? lt_fail(LT_E_UNSUPPORTED, "%s: %s has recurrent layers, whose state cannot be taken back or apart", what,
                                      e->model.traits->arch)
                            : LT_OK;
}
