/* step.c - one batch step: forward, sample, append, detokenise.  All rows or none: everything that can fail comes first. */
#include "engine.h"

#include <string.h>

#include "core/clock.h"
#include "core/floats.h"
#include "draft.h"

enum { FEW_TOKENS = 8 }; /* a step of so many is bound by memory, not arithmetic: n_threads, not n_threads_batch */

static int check_row(const lt_engine *e, const lt_row *row)
{
    if (row->seq < 0 || row->seq >= e->opts.n_seqs || !e->seqs[row->seq].open)
        return lt_fail(LT_E_ARG, "sequence %d is not open", row->seq);
    const lt_seq *q = &e->seqs[row->seq];
    if (q->in_step)
        return lt_fail(LT_E_ARG, "sequence %d stands twice in the step", row->seq);
    if (q->poisoned)
        return lt_fail(LT_E_ARG, "sequence %d has no finite logits and must be closed", row->seq);
    if (row->advance < 1 || row->advance > q->n_total - q->n_computed)
        return lt_fail(LT_E_ARG, "sequence %d: advance is %d, must be 1..%d", row->seq, row->advance, q->n_total - q->n_computed);
    if (row->advance > lt_window_left(e, q))
        return lt_fail(LT_E_LIMIT, "sequence %d: advance is %d, %d tokens are left in its window of %d", row->seq, row->advance,
                       lt_window_left(e, q), e->opts.group_w);
    if (q->n_computed + row->advance > e->n_ctx)
        return lt_fail(LT_E_LIMIT, "sequence %d: the context of %d tokens is full", row->seq, e->n_ctx);
    if (row->n_draft < 0 || row->n_draft > LT_MAX_DRAFT)
        return lt_fail(LT_E_ARG, "sequence %d: n_draft is %d, must be 0..%d", row->seq, row->n_draft, LT_MAX_DRAFT);
    if (row->n_draft)
        LT_TRY(lt_refuse_recurrent(e, "n_draft must be 0"));
    if (row->n_draft && !lt_sampling_is_stateless(&q->sampling))
        return lt_fail(LT_E_ARG, "sequence %d: its samplers have a state, so n_draft must be 0", row->seq);
    if (row->n_draft && ((row->mask && !row->draft) || q->n_computed + row->advance < q->n_total))
        return lt_fail(LT_E_ARG, "sequence %d: guesses are for rows that reach the history's end, with a mask only if they are given",
                       row->seq);
    for (int32_t i = 0; row->draft && i < row->n_draft; i++)
        if (row->draft[i] < 0 || row->draft[i] >= e->model.h.n_vocab)
            return lt_fail(LT_E_ARG, "sequence %d: guess %d is %d, must be 0..%d", row->seq, i, row->draft[i], e->model.h.n_vocab - 1);
    return LT_OK;
}

static int check_rows(lt_engine *e, const lt_row *rows, int32_t n_rows)
{
    int rc = LT_OK;
    int64_t n_tokens = 0;
    int32_t checked = 0;
    while (checked < n_rows && (rc = check_row(e, &rows[checked])) == LT_OK) {
        e->seqs[rows[checked].seq].in_step = true;
        n_tokens += rows[checked].advance + rows[checked].n_draft;
        checked++;
    }
    for (int32_t i = 0; i < checked; i++)
        e->seqs[rows[i].seq].in_step = false;
    if (rc == LT_OK && n_tokens > e->opts.n_batch)
        rc = lt_fail(LT_E_LIMIT, "the step has %lld tokens, n_batch is %d", (long long)n_tokens, e->opts.n_batch);
    return rc;
}

static int reserve_pages(lt_engine *e, const lt_row *rows, int32_t n_rows)
{
    for (int32_t i = 0; i < n_rows; i++)
        e->needs[i] = (lt_kv_need){rows[i].seq, e->seqs[rows[i].seq].n_computed + rows[i].advance};
    return lt_kv_reserve(e->kv, e->needs, n_rows);
}

/* Guesses take no page of their own: what they could gain is less than what a page of somebody's prefix is worth. */
static void guess(lt_engine *e, const lt_row *row)
{
    lt_seq *q = &e->seqs[row->seq];
    int32_t n_pages, max = row->n_draft;
    lt_kv_table(e->kv, row->seq, &n_pages);
    const int32_t in_pages = n_pages * LT_PAGE - q->n_total, in_context = e->n_ctx - 1 - q->n_total;
    const int32_t in_window = lt_window_left(e, q) - row->advance;
    max = max < in_pages ? max : in_pages;
    max = max < in_window ? max : in_window;
    max = max < in_context ? max : in_context;
    q->n_drafted = 0;
    if (max <= 0)
        return;
    if (row->draft) {
        memcpy(q->history + q->n_total, row->draft, (size_t)max * sizeof *row->draft);
        q->n_drafted = max;
        return;
    }
    q->n_drafted = lt_kv_follow(e->kv, row->seq, q->history, q->n_total, max);
    if (!q->n_drafted)
        q->n_drafted = lt_draft(q->history, q->n_total, max);
}

/* Lays the rows' tokens out one after the other; notes which of them need logits. */
static int32_t lay_out(lt_engine *e, const lt_row *rows, int32_t n_rows, lt_batch *batch)
{
    int32_t n = 0, n_wanted = 0;
    lt_choice *score = e->scores;
    for (int32_t i = 0; i < n_rows; i++) {
        const lt_row *row = &rows[i];
        const lt_seq *q = &e->seqs[row->seq];
        int32_t n_pages;
        e->spans[i] = (lt_span){.first_row = n,
                                .n_rows = row->advance + q->n_drafted,
                                .first_position = q->n_computed,
                                .pages = lt_kv_table(e->kv, row->seq, &n_pages),
                                .state = e->n_checkpoints ? row->seq : -1};
        lt_plan_saves(e, row->seq, &e->spans[i]);
        for (int32_t j = 0; j < e->spans[i].n_rows; j++, n++) {
            const int32_t n_known = q->n_computed + j + 1;
            const bool copies = row->logits && j < row->advance, samples = n_known >= q->n_total;
            const bool scores = q->sampling.flags & LT_SAMPLE_SCORE && !samples;
            e->token[n] = q->history[n_known - 1];
            e->position[n] = n_known - 1 - lt_lag(e, q);
            if (samples || copies || scores)
                e->wanted[n_wanted++] = (lt_wanted){
                    .row = n,
                    .span = i,
                    .n_known = samples ? n_known : -1,
                    .copy_to = copies ? row->logits + (size_t)j * (size_t)e->model.h.n_vocab : NULL,
                    .score = scores ? score : NULL,
                };
            if (scores) {
                score->token = q->history[n_known];
                score += 1 + q->sampling.n_probs;
            }
        }
    }
    *batch = (lt_batch){.n_rows = n,
                        .n_spans = n_rows,
                        .n_threads = n <= FEW_TOKENS ? e->opts.n_threads : e->opts.n_threads_batch,
                        .token = e->token,
                        .position = e->position,
                        .spans = e->spans};
    return n_wanted;
}

typedef struct {
    lt_engine *e;
    const lt_row *rows;
    lt_wanted *wanted;
} sample_call;

static void sample_item(void *context, int32_t item, int32_t worker)
{
    sample_call *c = context;
    lt_engine *e = c->e;
    lt_wanted *w = &c->wanted[item];
    const float *logits = e->be->ops->read(e->be, e->model.logits, item);
    if (w->copy_to)
        memcpy(w->copy_to, logits, (size_t)e->model.h.n_vocab * sizeof *logits);
    const lt_row *row = &c->rows[w->span];
    const lt_seq *q = &e->seqs[row->seq];
    if (w->score)
        lt_score(e->samplers[worker], &q->sampling, logits, w->score);
    if (w->n_known < 0)
        return;
    const int32_t n_words = (e->model.h.n_vocab + 31) / 32;
    const uint32_t *mask = row->mask ? row->mask + (size_t)(w->n_known - q->n_total) * (size_t)n_words : NULL;
    w->sampled = lt_sample(e->samplers[worker], &q->sampling, logits, q->history, w->n_known, mask, q->state);
    lt_sample_probs(e->samplers[worker], &q->sampling, &e->probs[w - e->wanted]);
}

/* The head runs over at most max_outputs rows at a time: logits of a whole prompt need not fit into memory. */
static void compute_outputs(lt_engine *e, const lt_row *rows, int32_t n_wanted, int32_t n_threads)
{
    for (int32_t first = 0; first < n_wanted; first += e->model.max_outputs) {
        const int32_t left = n_wanted - first, n = left < e->model.max_outputs ? left : e->model.max_outputs;
        for (int32_t i = 0; i < n; i++)
            e->rows[i] = e->wanted[first + i].row;
        e->model_ns -= lt_now_ns();
        lt_model_logits(&e->model, e->rows, n);
        e->model_ns += lt_now_ns();
        sample_call c = {e, rows, e->wanted + first};
        lt_pool_run(e->pool, n_threads, sample_item, &c, n);
    }
}

static void tell_probs(lt_out *out, const lt_probs *probs)
{
    out->prob = probs->prob;
    out->n_top = probs->n_top;
    out->n_chances = probs->n_chances;
    out->top = probs->top;
    out->chances = probs->chances;
}

static void tell_score(lt_seq *q, lt_out *out, lt_choice *score)
{
    out->scores = out->n_scores ? out->scores : score;
    out->n_scores += 1 + q->sampling.n_probs;
    if (score->token < 0) {
        q->poisoned = true;
        out->flags |= LT_OUT_NAN;
    }
}

/* Appends the sampled token to its history and its text to the step's. */
static void append_token(lt_engine *e, lt_seq *q, lt_out *out, const lt_wanted *w, uint32_t *text_len)
{
    const lt_sampled sampled = w->sampled;
    if (sampled.token < 0) {
        q->poisoned = true;
        out->flags |= LT_OUT_NAN;
        return;
    }
    q->history[q->n_total++] = sampled.token;
    out->token = sampled.token;
    out->logprob = sampled.logprob;
    memcpy(q->state, sampled.state, sizeof q->state);
    memcpy(out->state, sampled.state, sizeof out->state);
    tell_probs(out, &e->probs[w - e->wanted]);
    out->flags |= LT_OUT_TOKEN;
    if (lt_token_is_eog(e->vocab, sampled.token) == 1) {
        out->flags |= LT_OUT_EOG;
    } else {
        uint32_t n_bytes;
        const char *piece = lt_vocab_piece(e->vocab, sampled.token, &n_bytes);
        out->text_len = lt_utf8_feed(&q->text, piece, n_bytes, e->text + *text_len);
        *text_len += out->text_len;
    }
    if (q->text.n_pending)
        out->flags |= LT_OUT_PARTIAL;
    if (q->n_total > e->n_ctx - 1)
        out->flags |= LT_OUT_FULL;
}

/* Takes samples as long as what they were drawn after is true: the first always is, each right guess lets the next one count. */
static lt_out *append_tokens(lt_engine *e, lt_seq *q, const lt_wanted *w, lt_out *out, uint32_t *text_len)
{
    for (int32_t left = q->n_drafted;; left--, w++) {
        const int32_t guessed = left ? q->history[q->n_total] : -1;
        append_token(e, q, out, w, text_len);
        if (out->token != guessed || !left || out->flags & (LT_OUT_EOG | LT_OUT_NAN))
            return out + 1;
        q->n_computed++;
        out[1] = (lt_out){.seq = out->seq, .token = -1, .text_off = *text_len, .n_drafted = q->n_drafted};
        out++;
    }
}

static int32_t finish_rows(lt_engine *e, const lt_row *rows, int32_t n_rows, const lt_wanted *w, const lt_wanted *end)
{
    uint32_t text_len = 0;
    lt_out *out = e->outs;
    for (int32_t i = 0; i < n_rows; i++) {
        lt_seq *q = &e->seqs[rows[i].seq];
        *out = (lt_out){.seq = rows[i].seq, .token = -1, .text_off = text_len, .n_drafted = q->n_drafted};
        q->n_computed += rows[i].advance;
        for (; w < end && w->span == i && w->n_known < 0; w++)
            if (w->score)
                tell_score(q, out, w->score);
        out = w < end && w->span == i && !q->poisoned ? append_tokens(e, q, w, out, &text_len) : out + 1;
        while (w < end && w->span == i)
            w++;
        if (!q->poisoned)
            lt_kv_publish(e->kv, rows[i].seq, q->history, q->n_computed);
        lt_keep_saves(e, rows[i].seq, &e->spans[i]);
    }
    return (int32_t)(out - e->outs);
}

static int step(lt_engine *e, const lt_row *rows, int32_t n_rows, lt_result *result)
{
    const int64_t start = lt_now_ns();
    LT_TRY(check_rows(e, rows, n_rows));
    LT_TRY(lt_regroup_rows(e, rows, n_rows));
    LT_TRY(reserve_pages(e, rows, n_rows));
    for (int32_t i = 0; i < n_rows; i++)
        guess(e, &rows[i]);
    lt_batch batch;
    const int32_t n_wanted = lay_out(e, rows, n_rows, &batch);
    e->model_ns -= lt_now_ns();
    lt_model_forward(&e->model, &batch);
    e->model_ns += lt_now_ns();
    compute_outputs(e, rows, n_wanted, batch.n_threads);
    const int32_t n_out = finish_rows(e, rows, n_rows, e->wanted, e->wanted + n_wanted);
    e->n_steps++;
    e->step_ns += lt_now_ns() - start;
    e->tokens_computed += batch.n_rows;
    *result = (lt_result){.out = e->outs, .text = e->text, .n_out = n_out, .n_tokens = batch.n_rows};
    return LT_OK;
}

int lt_step(lt_engine *e, const lt_row *rows, int32_t n_rows, lt_result *result)
{
    if (!e || !rows || !result || n_rows < 1 || n_rows > e->opts.n_seqs)
        return lt_fail(LT_E_ARG, "lt_step: NULL argument or %d rows, must be 1..n_seqs", n_rows);
    const fenv_t before = lt_usual_floats();
    const int rc = step(e, rows, n_rows, result);
    lt_restore_floats(before);
    return rc;
}
