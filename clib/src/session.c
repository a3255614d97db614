/* session.c - histories that leave the engine and come back: a page read, a page written, a history forgotten. */
#include "engine.h"

static int check_open(const lt_engine *e, int32_t seq)
{
    if (!e || seq < 0 || seq >= e->opts.n_seqs || !e->seqs[seq].open)
        return lt_fail(LT_E_ARG, "sequence %d is not open", seq);
    return e->seqs[seq].poisoned ? lt_fail(LT_E_ARG, "sequence %d has no finite logits and must be closed", seq) : LT_OK;
}

static int32_t at_most(int32_t n, int32_t limit)
{
    return n < limit ? n : limit;
}

int lt_seq_read_page(const lt_engine *e, int32_t seq, int32_t page, void *out, size_t cap, size_t *need)
{
    LT_TRY(check_open(e, seq));
    LT_TRY(lt_refuse_recurrent(e, "saved histories"));
    const lt_seq *q = &e->seqs[seq];
    const size_t page_bytes = (size_t)e->be->ops->memory(e->be).page_bytes;
    const int32_t n_pages = (q->n_computed + LT_PAGE - 1) / LT_PAGE;
    if (lt_kv_is_altered(e->kv, seq))
        return lt_fail(LT_E_ARG, "sequence %d has cells that changed their position, which are of no use elsewhere", seq);
    if (!need || page < 0 || page >= n_pages)
        return lt_fail(LT_E_ARG, "page %d of sequence %d, which has %d with computed tokens; need must not be NULL", page, seq, n_pages);
    if (!out || cap < page_bytes) {
        *need = page_bytes;
        return lt_fail(LT_E_CAP, "a page has %zu bytes, the buffer %zu", page_bytes, out ? cap : 0);
    }
    int32_t n_table;
    const int32_t *table = lt_kv_table(e->kv, seq, &n_table);
    e->be->ops->read_page(e->be, table[page], at_most(q->n_computed - page * LT_PAGE, LT_PAGE), out);
    *need = page_bytes;
    return LT_OK;
}

int lt_seq_write_page(lt_engine *e, int32_t seq, int32_t page, const void *in, size_t n)
{
    LT_TRY(check_open(e, seq));
    LT_TRY(lt_refuse_recurrent(e, "saved histories"));
    lt_seq *q = &e->seqs[seq];
    const size_t page_bytes = (size_t)e->be->ops->memory(e->be).page_bytes;
    if (!in || q->n_computed == q->n_total || page != q->n_computed / LT_PAGE)
        return lt_fail(LT_E_ARG, "page %d of sequence %d, which has %d of %d tokens computed", page, seq, q->n_computed, q->n_total);
    if (n != page_bytes)
        return lt_fail(LT_E_FORMAT, "a page of %zu bytes, this engine's have %zu", n, page_bytes);
    const int32_t start = page * LT_PAGE, n_tokens = at_most(q->n_total - start, LT_PAGE);
    if (start + n_tokens > e->n_ctx)
        return lt_fail(LT_E_LIMIT, "sequence %d: the context of %d tokens is full", seq, e->n_ctx);
    if (e->opts.group_n > 1 && start + n_tokens > e->opts.group_w)
        return lt_fail(LT_E_FORMAT, "tokens beyond the first window of %d, whose positions self-extend changes", e->opts.group_w);
    int32_t n_table;
    LT_TRY(lt_kv_reserve(e->kv, &(lt_kv_need){seq, start + n_tokens}, 1));
    LT_TRY(e->be->ops->write_page(e->be, lt_kv_table(e->kv, seq, &n_table)[page], n_tokens, in));
    q->n_computed = start + n_tokens;
    return LT_OK;
}

int lt_cache_forget(lt_engine *e, const int32_t *ids, int32_t n, int32_t n_keep, uint64_t scope)
{
    if (!e || !ids || n < 1 || n > e->n_ctx + 1 || n_keep < 0)
        return lt_fail(LT_E_ARG, "lt_cache_forget: NULL argument, %d ids or n_keep %d; there must be 1..n_ctx + 1 and 0 or more", n,
                       n_keep);
    lt_kv_forget(e->kv, scope, ids, n, n_keep);
    return LT_OK;
}
