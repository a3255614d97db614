/* check.c - which parts of a program may read nothing, and whether a rule begins with itself.
 *
 * A part is the body of a rule or of a counted loop; a CALL or LOOP uses it and has a way past it if it may be empty.  That is
 * found from the ends of the parts backwards, each way once.  Left recursion is a circle among "rule x may begin with y". */
#include <string.h>

#include "core/memory.h"
#include "grammar/program.h"

/* Backward ways: from[first[p + 1] .. first[p + 2]) are the positions with a way to p that reads nothing. */
typedef struct {
    lt_program *p;
    uint32_t *first, *from;
    uint32_t *first_use, *uses; /* likewise the CALLs and LOOPs of each part; rules come first, loops after them */
    uint32_t *part_at;          /* [positions] the part that begins here + 1 */
    uint32_t *todo, n_todo;
    uint8_t *empty; /* [positions] the end of the part can be reached without reading */
} emptiness;

static int64_t part_used(const lt_program *p, uint32_t at) /* -1: none */
{
    const lt_position *pos = &p->at.at[at];
    return pos->kind == LT_AT_CALL ? (int64_t)pos->a : pos->kind == LT_AT_LOOP ? (int64_t)p->rules.n + pos->a : -1;
}

static uint8_t *may_be_empty(lt_program *p, uint32_t part)
{
    return part < p->rules.n ? &p->rules.at[part].may_be_empty : &p->loops.at[part - p->rules.n].may_be_empty;
}

static uint32_t entry_of(const lt_program *p, uint32_t part)
{
    return part < p->rules.n ? p->rules.at[part].entry : p->loops.at[part - p->rules.n].body;
}

static bool can_be_passed(lt_program *p, uint32_t at)
{
    int64_t part = part_used(p, at);
    return part < 0 || *may_be_empty(p, (uint32_t)part) || (p->at.at[at].kind == LT_AT_LOOP && p->loops.at[p->at.at[at].a].min == 0);
}

/* Where a position leads without reading, past the part that it uses. */
static const uint32_t *ways_on(const lt_program *p, uint32_t at, uint32_t *n)
{
    const lt_position *pos = &p->at.at[at];
    *n = pos->kind == LT_AT_FORK ? pos->b : pos->kind == LT_AT_CALL || pos->kind == LT_AT_LOOP;
    return pos->kind == LT_AT_FORK ? p->links.at + pos->a : pos->kind == LT_AT_LOOP ? &p->loops.at[pos->a].next : &pos->b;
}

/* Counts the entries of both backward tables, or with `fill` writes them. */
static void turn_around(emptiness *e, bool fill)
{
    for (uint32_t at = 0; at < e->p->at.n; at++) {
        uint32_t n;
        const uint32_t *to = ways_on(e->p, at, &n);
        int64_t part = part_used(e->p, at);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t *end = &e->first[to[i] + 1];
            if (fill)
                e->from[--*end] = at;
            else
                ++*end;
        }
        if (part >= 0 && fill)
            e->uses[--e->first_use[part + 1]] = at;
        else if (part >= 0)
            e->first_use[part + 1]++;
    }
}

static void add_up(uint32_t *counts, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        counts[i] += counts[i - 1];
}

static int allocate(emptiness *e)
{
    size_t n = e->p->at.n, n_ways = n + e->p->links.n, n_parts = (size_t)e->p->rules.n + e->p->loops.n;
    e->first = lt_alloc_zero(n + 2, sizeof *e->first);
    e->from = lt_alloc(n_ways, sizeof *e->from);
    e->first_use = lt_alloc_zero(n_parts + 2, sizeof *e->first_use);
    e->uses = lt_alloc(n, sizeof *e->uses);
    e->part_at = lt_alloc_zero(n, sizeof *e->part_at);
    e->todo = lt_alloc(n, sizeof *e->todo);
    e->empty = lt_alloc_zero(n, 1);
    bool all = e->first && e->from && e->first_use && e->uses && e->part_at && e->todo && e->empty;
    return all ? LT_OK : lt_tree_no_memory();
}

static void release(emptiness *e)
{
    lt_free(e->first);
    lt_free(e->from);
    lt_free(e->first_use);
    lt_free(e->uses);
    lt_free(e->part_at);
    lt_free(e->todo);
    lt_free(e->empty);
}

static void note(emptiness *e, uint32_t at)
{
    if (!e->empty[at]) {
        e->empty[at] = 1;
        e->todo[e->n_todo++] = at;
    }
}

/* Those that use the part can now be passed: they are empty where what follows them is. */
static void note_part(emptiness *e, uint32_t part)
{
    uint8_t *known = may_be_empty(e->p, part);
    if (*known)
        return;
    *known = 1;
    for (uint32_t i = e->first_use[part + 1]; i < e->first_use[part + 2]; i++) {
        uint32_t n;
        if (e->empty[*ways_on(e->p, e->uses[i], &n)])
            note(e, e->uses[i]);
    }
}

static void spread(emptiness *e)
{
    uint32_t n_parts = e->p->rules.n + e->p->loops.n;
    for (uint32_t at = 0; at < e->p->at.n; at++)
        if (e->p->at.at[at].kind == LT_AT_RETURN || e->p->at.at[at].kind == LT_AT_AGAIN)
            note(e, at);
    for (uint32_t part = 0; part < n_parts; part++) {
        if (e->empty[entry_of(e->p, part)])
            note_part(e, part); /* several rules may be nothing but the RETURN */
        else
            e->part_at[entry_of(e->p, part)] = part + 1;
    }
    while (e->n_todo) {
        uint32_t at = e->todo[--e->n_todo];
        if (e->part_at[at])
            note_part(e, e->part_at[at] - 1);
        for (uint32_t i = e->first[at + 1]; i < e->first[at + 2]; i++)
            if (can_be_passed(e->p, e->from[i]))
                note(e, e->from[i]);
    }
}

static int find_empty(lt_program *p)
{
    emptiness e = {.p = p};
    int rc = allocate(&e);
    if (rc == LT_OK) {
        turn_around(&e, false);
        add_up(e.first, p->at.n + 2);
        add_up(e.first_use, p->rules.n + p->loops.n + 2);
        turn_around(&e, true);
        spread(&e);
    }
    release(&e);
    return rc;
}

/* A round that reads nothing counts as any other, so no number of them is too small. */
static int settle_loops(lt_program *p)
{
    for (uint32_t i = 0; i < p->loops.n; i++) {
        lt_loop *loop = &p->loops.at[i];
        if (!loop->may_be_empty)
            continue;
        loop->min = 0;
        if (loop->max != LT_ENDLESS && loop->max > LT_PROGRAM_MAX_EMPTY_ROUNDS)
            return lt_fail(LT_E_LIMIT, "the grammar repeats something that may be empty up to %u times, limit %d", (unsigned)loop->max,
                           LT_PROGRAM_MAX_EMPTY_ROUNDS);
    }
    return LT_OK;
}

/* ---- left recursion ------------------------------------------------------------------------------------------------- */

/* A walk through rules in depth first order: path holds the rules that are open, each with the positions still to look at. */
typedef struct {
    lt_program *p;
    const lt_tree *t;
    LT_LIST(uint32_t) todo;   /* positions of the open rules */
    uint32_t *path, *todo_at; /* [rules] */
    uint32_t n_path;
    uint8_t *seen;       /* [positions] */
    uint8_t *rule_state; /* [rules] 0 new, 1 open, 2 done */
} left_walk;

static int look_at(left_walk *w, uint32_t at)
{
    if (w->seen[at])
        return LT_OK;
    w->seen[at] = 1;
    if (!LT_ROOM(&w->todo, 1))
        return lt_tree_no_memory();
    w->todo.at[w->todo.n++] = at;
    return LT_OK;
}

static int open_rule(left_walk *w, uint32_t rule)
{
    const lt_tree_rule *named = &w->t->rules.at[rule];
    if (w->rule_state[rule] == 1)
        return lt_fail(LT_E_FORMAT, "grammar: rule \"%.*s\" begins with itself (left recursion)",
                       (int)(named->n_name < 64 ? named->n_name : 64), w->t->text + named->name);
    if (w->rule_state[rule] == 2)
        return LT_OK;
    w->rule_state[rule] = 1;
    w->path[w->n_path] = rule;
    w->todo_at[w->n_path++] = w->todo.n;
    return look_at(w, w->p->rules.at[rule].entry);
}

static int go_on(left_walk *w)
{
    uint32_t at = w->todo.at[--w->todo.n], n;
    const lt_position *pos = &w->p->at.at[at];
    const uint32_t *to = ways_on(w->p, at, &n);
    for (uint32_t i = 0; i < n && can_be_passed(w->p, at); i++)
        LT_TRY(look_at(w, to[i]));
    if (pos->kind == LT_AT_LOOP)
        LT_TRY(look_at(w, w->p->loops.at[pos->a].body));
    return pos->kind == LT_AT_CALL ? open_rule(w, pos->a) : LT_OK;
}

static int walk_rules(left_walk *w)
{
    for (uint32_t rule = 0; rule < w->p->rules.n; rule++) {
        LT_TRY(open_rule(w, rule));
        while (w->n_path) {
            if (w->todo.n > w->todo_at[w->n_path - 1])
                LT_TRY(go_on(w));
            else
                w->rule_state[w->path[--w->n_path]] = 2;
        }
    }
    return LT_OK;
}

static int refuse_left_recursion(lt_program *p, const lt_tree *t)
{
    left_walk w = {.p = p, .t = t};
    w.path = lt_alloc(p->rules.n, sizeof *w.path);
    w.todo_at = lt_alloc(p->rules.n, sizeof *w.todo_at);
    w.seen = lt_alloc_zero(p->at.n, 1);
    w.rule_state = lt_alloc_zero(p->rules.n, 1);
    int rc = w.path && w.todo_at && w.seen && w.rule_state ? walk_rules(&w) : lt_tree_no_memory();
    lt_free(w.path);
    lt_free(w.todo_at);
    lt_free(w.seen);
    lt_free(w.rule_state);
    lt_free(w.todo.at);
    return rc;
}

int lt_program_check(lt_program *p, const lt_tree *t)
{
    LT_TRY(find_empty(p));
    LT_TRY(settle_loops(p));
    return refuse_left_recursion(p, t);
}
