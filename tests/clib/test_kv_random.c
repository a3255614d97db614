/* test_kv_random.c - the KV bookkeeping under random operations, against a naive model.
 *
 * The model gives every position of every page the value that the keys and values there depend on: a hash of the scope and
 * all ids up to it; another one where a sequence has changed its cells.  A cached prefix is right when its pages hold exactly
 * those values for the new prompt. */
#include "check.h"

#include <stdbool.h>
#include <string.h>

#include "kv/internal.h"

enum { N_SEQS = 6, MAX_TOKENS = 400, MAX_TEST_PAGES = 64 };

static uint64_t rng_state = 88172645463325252u;

static uint32_t random_below(uint32_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (uint32_t)(rng_state >> 33) % n;
}

static lt_kv *new_kv(int32_t n_pages)
{
    lt_kv *kv = NULL;
    CHECK(lt_kv_create(&kv, n_pages, N_SEQS, MAX_TOKENS, 0) == LT_OK, "%s", lt_last_error());
    return kv;
}

typedef struct {
    lt_kv *kv;
    uint64_t content[MAX_TEST_PAGES][LT_PAGE];
    struct {
        uint64_t scope;
        int32_t ids[MAX_TOKENS];
        int32_t n_ids, n_computed;
        int32_t n_shown;      /* n_computed when it was published last */
        int32_t altered_from; /* positions from here on hold what no ids give */
        bool open;
    } seq[N_SEQS];
    uint64_t scopes[2];
    int64_t n_ops, n_hits, n_copies, n_full, n_evicting, n_owned;
} model;

/* A scope whose list of first pages is scope 0's too, so that only the comparison of scopes keeps them apart. */
static uint64_t colliding_scope(int32_t n_pages)
{
    lt_kv *kv = new_kv(n_pages);
    uint64_t scope = 1;
    int32_t id = 1;
    lt_kv_copy copy;
    int32_t n_cached;
    CHECK(lt_kv_open(kv, 0, 0, &id, 0, &n_cached, &copy) == LT_OK && lt_kv_reserve(kv, &(lt_kv_need){0, 1}, 1) == LT_OK, "%s",
          lt_last_error());
    lt_kv_close(kv, 0, &id, 1, 1);
    while (lt_tree_first(kv, (lt_kv_place){scope, LT_NO_PAGE}) == LT_NO_PAGE)
        scope++;
    lt_kv_destroy(kv);
    return scope;
}

static uint64_t value_at(uint64_t scope, const int32_t *ids, int32_t position)
{
    uint64_t h = scope * 0x9e3779b97f4a7c15u + 1;
    for (int32_t i = 0; i <= position; i++)
        h = (h ^ (uint64_t)ids[i]) * 0xbf58476d1ce4e5b9u;
    return h;
}

static uint64_t expected_at(const model *m, int32_t seq, int32_t position)
{
    const uint64_t value = value_at(m->seq[seq].scope, m->seq[seq].ids, position);
    return position < m->seq[seq].altered_from ? value : ~value;
}

/* Four texts over three letters, cut and changed at random: prompts that share heads of every length. */
static int32_t random_prompt(int32_t *ids)
{
    int32_t n = 1 + (int32_t)random_below(MAX_TOKENS - 100), text = (int32_t)random_below(4);
    for (int32_t i = 0; i < n; i++)
        ids[i] = (i * (text + 3) / 7 + i * i * text / 64) % 3;
    if (random_below(2))
        ids[random_below((uint32_t)n)] = 3 + (int32_t)random_below(2);
    return n;
}

/* Longest head of ids[0..n) that any path of the tree spells, by walking up from every page: no hash, no lists. */
static int32_t longest_by_hand(const lt_kv *kv, uint64_t scope, const int32_t *ids, int32_t n)
{
    int32_t best = 0;
    for (int32_t page = 0; page < kv->n_pages; page++) {
        int32_t depth = 0, len = 0;
        if (!kv->pages[page].n_ids || kv->pages[page].scope != scope)
            continue;
        for (int32_t up = kv->pages[page].parent; up != LT_NO_PAGE; up = kv->pages[up].parent)
            depth++;
        bool whole = true;
        for (int32_t up = kv->pages[page].parent, d = depth - 1; up != LT_NO_PAGE; up = kv->pages[up].parent, d--)
            whole = whole && (d + 1) * LT_PAGE <= n && !memcmp(kv->pages[up].ids, ids + d * LT_PAGE, sizeof kv->pages[up].ids);
        if (!whole)
            continue;
        const lt_kv_page *p = &kv->pages[page];
        while (len < p->n_ids && depth * LT_PAGE + len < n && p->ids[len] == ids[depth * LT_PAGE + len])
            len++;
        best = depth * LT_PAGE + len > best ? depth * LT_PAGE + len : best;
    }
    return best;
}

/* The same of what open sequences have published, with the parts of pages that are not in the tree. */
static int32_t longest_running(const model *m, uint64_t scope, const int32_t *ids, int32_t n)
{
    int32_t best = 0;
    for (int32_t seq = 0; seq < N_SEQS; seq++) {
        int32_t len = 0;
        if (!m->seq[seq].open || m->seq[seq].scope != scope)
            continue;
        while (len < n && len < m->seq[seq].n_shown && m->seq[seq].ids[len] == ids[len])
            len++;
        best = len > best ? len : best;
    }
    return best;
}

static void check_contents(const model *m, int32_t seq, int32_t from)
{
    int32_t n_pages, n_wrong = 0;
    const int32_t *table = lt_kv_table(m->kv, seq, &n_pages);
    for (int32_t j = from; j < m->seq[seq].n_computed; j++)
        n_wrong += m->content[table[j / LT_PAGE]][j % LT_PAGE] != expected_at(m, seq, j);
    CHECK(n_wrong == 0, "op %d: %d positions of sequence %d hold another history", (int)m->n_ops, n_wrong, seq);
}

static void op_open(model *m, int32_t seq)
{
    int32_t n_cached = -1, n = m->seq[seq].n_ids = random_prompt(m->seq[seq].ids);
    const int32_t *ids = m->seq[seq].ids;
    lt_kv_copy copy;
    m->seq[seq].scope = m->scopes[random_below(3) == 0];
    int32_t best = longest_by_hand(m->kv, m->seq[seq].scope, ids, n - 1), running = longest_running(m, m->seq[seq].scope, ids, n - 1);
    best = running > best ? running : best;
    CHECK(lt_kv_open(m->kv, seq, m->seq[seq].scope, ids, n - 1, &n_cached, &copy) == LT_OK, "%s", lt_last_error());
    if (n_cached != best) {
        lt_kv_count c = lt_kv_counts(m->kv);
        CHECK(n_cached == best / LT_PAGE * LT_PAGE && !c.n_free && c.n_cached <= 1, "%d cached, %d possible", n_cached, best);
    }
    if (copy.n_tokens)
        memcpy(m->content[copy.dst], m->content[copy.src], (size_t)copy.n_tokens * sizeof(uint64_t));
    m->seq[seq].n_computed = n_cached;
    m->seq[seq].n_shown = 0;
    m->seq[seq].altered_from = INT32_MAX;
    m->seq[seq].open = true;
    m->n_hits += n_cached > 0;
    m->n_copies += copy.n_tokens > 0;
    check_contents(m, seq, 0);
}

static void write_pages(model *m, int32_t seq, int32_t upto)
{
    int32_t n_pages;
    const int32_t *table = lt_kv_table(m->kv, seq, &n_pages);
    for (int32_t j = m->seq[seq].n_computed; j < upto; j++)
        m->content[table[j / LT_PAGE]][j % LT_PAGE] = expected_at(m, seq, j);
    m->seq[seq].n_computed = upto;
}

/* One step: a few of the open sequences go on by some tokens of their prompt or, at its end, by a new one. */
static void op_step(model *m)
{
    lt_kv_need needs[N_SEQS];
    int32_t n = 0;
    int64_t n_missing = 0;
    for (int32_t seq = 0; seq < N_SEQS; seq++) {
        if (!m->seq[seq].open || random_below(3) == 0 || m->seq[seq].n_computed >= MAX_TOKENS - 1)
            continue;
        if (m->seq[seq].n_computed == m->seq[seq].n_ids)
            m->seq[seq].ids[m->seq[seq].n_ids++] = (int32_t)random_below(3);
        int32_t left = m->seq[seq].n_ids - m->seq[seq].n_computed, n_table;
        needs[n] = (lt_kv_need){seq, m->seq[seq].n_computed + 1 + (int32_t)random_below((uint32_t)left)};
        lt_kv_table(m->kv, seq, &n_table);
        int32_t missing = (needs[n++].n_tokens + LT_PAGE - 1) / LT_PAGE - n_table;
        n_missing += missing > 0 ? missing : 0;
    }
    lt_kv_count before = lt_kv_counts(m->kv);
    bool fits = n_missing <= before.n_free + before.n_cached;
    int rc = lt_kv_reserve(m->kv, needs, n);
    CHECK(rc == (fits ? LT_OK : LT_E_KV_FULL), "%d for %d pages", rc, (int)n_missing);
    if (!fits) {
        lt_kv_count after = lt_kv_counts(m->kv);
        CHECK(!memcmp(&before, &after, sizeof after), "a refused reserve changes nothing");
        m->n_full++;
        return;
    }
    m->n_evicting += n_missing > before.n_free;
    for (int32_t i = 0; i < n; i++) {
        write_pages(m, needs[i].seq, needs[i].n_tokens);
        if (random_below(4)) {
            lt_kv_publish(m->kv, needs[i].seq, m->seq[needs[i].seq].ids, needs[i].n_tokens);
            m->seq[needs[i].seq].n_shown = m->seq[needs[i].seq].altered_from == INT32_MAX ? needs[i].n_tokens : 0;
        }
    }
}

/* Every cell from some page on changes, and perhaps the last ones go. */
static void op_alter(model *m, int32_t seq)
{
    lt_kv_copy copies[MAX_TEST_PAGES];
    int32_t n_copies = -1, n_pages;
    const int32_t first = (int32_t)random_below((uint32_t)m->seq[seq].n_computed / LT_PAGE + 1), start = first * LT_PAGE;
    const lt_kv_count before = lt_kv_counts(m->kv);
    const int rc = lt_kv_own(m->kv, seq, first, copies, &n_copies);
    if (rc == LT_E_KV_FULL) {
        lt_kv_count after = lt_kv_counts(m->kv);
        CHECK(!memcmp(&before, &after, sizeof after), "a refused change of owner changes something");
        return;
    }
    CHECK(rc == LT_OK, "%s", lt_last_error());
    CHECK(lt_kv_check(m->kv) == LT_OK, "%s", lt_last_error());
    for (int32_t i = 0; i < n_copies; i++)
        memcpy(m->content[copies[i].dst], m->content[copies[i].src], sizeof m->content[0]);
    check_contents(m, seq, start);
    m->seq[seq].n_shown = 0;
    m->seq[seq].altered_from = start < m->seq[seq].altered_from ? start : m->seq[seq].altered_from;
    m->seq[seq].n_computed -= (int32_t)random_below((uint32_t)(m->seq[seq].n_computed - start) + 1);
    lt_kv_trim(m->kv, seq, m->seq[seq].n_computed);
    const int32_t *table = lt_kv_table(m->kv, seq, &n_pages);
    CHECK(n_pages == (m->seq[seq].n_computed + LT_PAGE - 1) / LT_PAGE, "%d pages", n_pages);
    for (int32_t j = start; j < m->seq[seq].n_computed; j++)
        m->content[table[j / LT_PAGE]][j % LT_PAGE] = expected_at(m, seq, j);
    m->n_owned += n_copies;
}

static void op_close(model *m, int32_t seq)
{
    lt_kv_close(m->kv, seq, m->seq[seq].ids, m->seq[seq].n_computed, random_below(3) != 0);
    m->seq[seq].open = false;
}

static void run_random(int32_t n_pages, int64_t n_ops)
{
    static model m;
    memset(&m, 0, sizeof m);
    m.scopes[1] = colliding_scope(n_pages);
    m.kv = new_kv(n_pages);
    for (; m.n_ops < n_ops && n_failed == 0; m.n_ops++) {
        int32_t seq = (int32_t)random_below(N_SEQS);
        if (!m.seq[seq].open)
            op_open(&m, seq);
        else if (random_below(16) == 0)
            op_alter(&m, seq);
        else if (!random_below(16))
            lt_kv_forget(m.kv, m.scopes[random_below(2)], m.seq[seq].ids, (int32_t)random_below(MAX_TOKENS),
                         (int32_t)random_below(MAX_TOKENS));
        else if (random_below(4))
            op_step(&m);
        else
            op_close(&m, seq);
        CHECK(lt_kv_check(m.kv) == LT_OK, "op %d: %s", (int)m.n_ops, lt_last_error());
        for (seq = 0; seq < N_SEQS; seq++)
            if (m.seq[seq].open && m.n_ops % 16 == 0)
                check_contents(&m, seq, m.seq[seq].n_computed - m.seq[seq].n_computed % LT_PAGE);
    }
    printf("  %d pages: %d operations, %d hits, %d copies, %d refused, %d evicting, %d owned\n", n_pages, (int)m.n_ops, (int)m.n_hits,
           (int)m.n_copies, (int)m.n_full, (int)m.n_evicting, (int)m.n_owned);
    CHECK(m.n_hits && m.n_copies && m.n_evicting && m.n_owned, "the run met every case");
    lt_kv_destroy(m.kv);
}

int main(void)
{
    run_random(8, 80000);
    run_random(14, 80000);
    run_random(24, 60000);
    run_random(MAX_TEST_PAGES, 20000);
    return check_report("kv at random");
}
