/* test_checkpoints.c - the pages of models with recurrent layers: a sequence begins at a checkpoint or from nothing. */
#include <string.h>

#include "check.h"
#include "kv/internal.h"

enum { N_SEQS = 3, N_PAGES = 12, N_CHECKPOINTS = 3, MAX_IDS = 64 * 10 };

static int32_t ids[MAX_IDS];
static lt_kv *kv;

static void start(void)
{
    for (int i = 0; i < MAX_IDS; i++)
        ids[i] = i % 50;
    CHECK(lt_kv_create(&kv, N_PAGES, N_SEQS, MAX_IDS, N_CHECKPOINTS) == LT_OK, "%s", lt_last_error());
}

static void end(void)
{
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
    lt_kv_destroy(kv);
}

static int32_t open_seq(int32_t seq, const int32_t *prompt, int32_t max_cached)
{
    lt_kv_copy copy;
    int32_t n_cached;
    CHECK(lt_kv_open(kv, seq, 0, prompt, max_cached, &n_cached, &copy) == LT_OK, "%s", lt_last_error());
    CHECK(!copy.n_tokens, "the head of a page was copied");
    return n_cached;
}

/* Computes up to n tokens and saves the state behind n_saved of them; the checkpoint. */
static int32_t compute(int32_t seq, const int32_t *prompt, int32_t n, int32_t n_saved)
{
    const int32_t checkpoint = n_saved ? lt_kv_take_checkpoint(kv) : LT_NO_CHECKPOINT;
    CHECK(lt_kv_reserve(kv, &(lt_kv_need){seq, n}, 1) == LT_OK, "%s", lt_last_error());
    lt_kv_publish(kv, seq, prompt, n);
    if (checkpoint != LT_NO_CHECKPOINT)
        lt_kv_keep_checkpoint(kv, seq, n_saved, checkpoint);
    CHECK(lt_kv_check(kv) == LT_OK, "%s", lt_last_error());
    return checkpoint;
}

static void a_sequence_begins_at_the_last_checkpoint(void)
{
    start();
    CHECK(open_seq(0, ids, 299) == 0, "nothing was there");
    const int32_t first = compute(0, ids, 200, 128);
    CHECK(open_seq(1, ids, 199) == 128 && lt_kv_checkpoint_at(kv, 1, 128) == first, "the open sequence's pages");
    CHECK(lt_kv_depth(kv, 0, ids, 300, false) == 192 && lt_kv_depth(kv, 0, ids, 300, true) == 128, "three pages, one checkpoint");
    lt_kv_close(kv, 1, ids, 128, true);
    CHECK(open_seq(1, ids, 127) == 0, "the checkpoint lies beyond");
    lt_kv_close(kv, 1, ids, 0, true);
    lt_kv_close(kv, 0, ids, 200, true);
    CHECK(lt_kv_counts(kv).n_cached == 3, "a page that nobody could begin in was kept");
    CHECK(open_seq(0, ids, 299) == 128, "of the tree alone");
    end();
}

static void the_oldest_checkpoint_makes_room(void)
{
    start();
    open_seq(0, ids, 0);
    int32_t taken[N_CHECKPOINTS];
    for (int i = 0; i < N_CHECKPOINTS; i++)
        taken[i] = compute(0, ids, 64 * (i + 1), 64 * (i + 1));
    open_seq(1, ids, 64); /* uses the first */
    CHECK(compute(0, ids, 256, 256) == taken[1], "the second was the oldest");
    CHECK(lt_kv_checkpoint_at(kv, 0, 128) == LT_NO_CHECKPOINT && lt_kv_checkpoint_at(kv, 0, 64) == taken[0], "whose page has none now");
    lt_kv_drop_checkpoint(kv, 0, 64);
    CHECK(lt_kv_checkpoint_at(kv, 0, 64) == taken[0], "somebody has begun from it");
    lt_kv_drop_checkpoint(kv, 0, 192);
    CHECK(lt_kv_checkpoint_at(kv, 0, 192) == LT_NO_CHECKPOINT, "nobody has begun from it");
    end();
}

static void pending_checkpoints_are_given_once(void)
{
    start();
    open_seq(0, ids, 0);
    int32_t taken[N_CHECKPOINTS];
    for (int i = 0; i < N_CHECKPOINTS; i++)
        taken[i] = lt_kv_take_checkpoint(kv);
    CHECK(taken[0] != taken[1] && taken[1] != taken[2] && taken[0] != taken[2], "one was given twice");
    CHECK(lt_kv_take_checkpoint(kv) == LT_NO_CHECKPOINT, "a fourth of three");
    CHECK(lt_kv_reserve(kv, &(lt_kv_need){0, 128}, 1) == LT_OK, "%s", lt_last_error());
    lt_kv_publish(kv, 0, ids, 100);
    lt_kv_keep_checkpoint(kv, 0, 64, taken[0]);
    lt_kv_keep_checkpoint(kv, 0, 64, taken[1]);  /* has one */
    lt_kv_keep_checkpoint(kv, 0, 128, taken[2]); /* is not in the tree */
    CHECK(lt_kv_checkpoint_at(kv, 0, 64) == taken[0] && lt_kv_checkpoint_at(kv, 0, 128) == LT_NO_CHECKPOINT, "pages");
    CHECK(lt_kv_take_checkpoint(kv) != taken[0] && lt_kv_take_checkpoint(kv) != taken[0], "two were free again");
    CHECK(lt_kv_take_checkpoint(kv) == taken[0], "the oldest");
    CHECK(lt_kv_checkpoint_at(kv, 0, 64) == LT_NO_CHECKPOINT, "its page lost it");
    end();
}

static void a_checkpoint_goes_with_its_page(void)
{
    start();
    open_seq(0, ids, 0);
    compute(0, ids, 128, 128);
    lt_kv_close(kv, 0, ids, 128, true);
    lt_kv_forget(kv, 0, ids, 128, 64);
    CHECK(lt_kv_depth(kv, 0, ids, 128, true) == 0 && lt_kv_depth(kv, 0, ids, 128, false) == 64, "forgotten");
    open_seq(0, ids + 1, 0); /* another history takes all pages */
    for (int i = 1; i <= 3; i++)
        CHECK(compute(0, ids + 1, 64 * 3 * i, 64 * 3 * i) != LT_NO_CHECKPOINT, "free ones");
    end();
}

static void twins_share_a_checkpoint(void)
{
    start();
    open_seq(0, ids, 0);
    open_seq(1, ids, 0);
    const int32_t first = compute(0, ids, 64, 64);
    compute(1, ids, 64, 64);
    CHECK(lt_kv_checkpoint_at(kv, 1, 64) == first, "its page was replaced by the first one's");
    CHECK(lt_kv_counts(kv).n_used == 1, "one page");
    end();
}

/* Histories that share beginnings come and go at random; what a checkpoint was written for is what it is given out for. */
typedef struct {
    int32_t ids[MAX_IDS], n; /* its history; computed so far */
    bool open;
} history;

static uint64_t seed = 1;
static int32_t draw(int32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int32_t)((seed >> 33) % (uint64_t)n);
}

static void begin(history *h, int32_t seq, const history *written)
{
    const int32_t parts = draw(400), other = draw(3);
    for (int32_t i = 0; i < MAX_IDS; i++)
        h->ids[i] = i < parts ? i % 50 : i % 50 + 1 + other;
    h->n = open_seq(seq, h->ids, MAX_IDS - 1);
    h->open = true;
    const int32_t checkpoint = lt_kv_checkpoint_at(kv, seq, h->n);
    CHECK((checkpoint == LT_NO_CHECKPOINT) == (h->n == 0), "%d tokens, checkpoint %d", h->n, checkpoint);
    if (h->n)
        CHECK(written[checkpoint].n == h->n && !memcmp(written[checkpoint].ids, h->ids, (size_t)h->n * sizeof *h->ids),
              "checkpoint %d was written behind %d tokens of another history, not %d of this", checkpoint, written[checkpoint].n, h->n);
}

static void go_on(history *h, int32_t seq, history *written)
{
    const int32_t n = h->n + 1 + draw(150), at = (h->n / 64 + 1 + draw(2)) * 64;
    if (n > MAX_IDS || lt_kv_reserve(kv, &(lt_kv_need){seq, n}, 1) < 0)
        return;
    if (draw(4) == 0)
        lt_kv_drop_checkpoint(kv, seq, draw(n / 64 + 1) * 64);
    const int32_t checkpoint = at <= n ? lt_kv_take_checkpoint(kv) : LT_NO_CHECKPOINT;
    h->n = n;
    if (draw(8)) /* else nothing of this step may be seen */
        lt_kv_publish(kv, seq, h->ids, n);
    if (checkpoint == LT_NO_CHECKPOINT)
        return;
    memcpy(written[checkpoint].ids, h->ids, sizeof h->ids);
    written[checkpoint].n = at;
    lt_kv_keep_checkpoint(kv, seq, at, checkpoint);
}

static void at_random(void)
{
    static history h[N_SEQS], written[N_CHECKPOINTS];
    int32_t n_reused = 0;
    start();
    for (int32_t step = 0; step < 20000; step++) {
        const int32_t seq = draw(N_SEQS);
        if (!h[seq].open) {
            begin(&h[seq], seq, written);
            n_reused += h[seq].n > 0;
        } else if (draw(4)) {
            go_on(&h[seq], seq, written);
        } else {
            lt_kv_close(kv, seq, h[seq].ids, h[seq].n, draw(5) > 0);
            h[seq].open = false;
        }
        if (draw(50) == 0)
            lt_kv_forget(kv, 0, h[seq].ids, MAX_IDS, draw(MAX_IDS));
        CHECK(lt_kv_check(kv) == LT_OK, "step %d: %s", step, lt_last_error());
    }
    CHECK(n_reused > 500, "only %d sequences began at a checkpoint", n_reused);
    end();
}

int main(void)
{
    a_sequence_begins_at_the_last_checkpoint();
    the_oldest_checkpoint_makes_room();
    pending_checkpoints_are_given_once();
    a_checkpoint_goes_with_its_page();
    twins_share_a_checkpoint();
    at_random();
    return check_report("checkpoints");
}
