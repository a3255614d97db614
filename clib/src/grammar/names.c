/* names.c - what a grammar calls by name: its rules, and tokens of the vocabulary. */
#include <string.h>

#include "core/memory.h"
#include "grammar/tree.h"

static uint32_t hash_of(const char *name, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)name[i]) * 16777619u;
    return h ^ h >> 15;
}

/* The slot of that name, or the free one where it belongs. */
static uint32_t *slot_of(const lt_tree *t, const char *name, size_t n)
{
    for (uint32_t i = hash_of(name, n) & (t->n_slots - 1);; i = (i + 1) & (t->n_slots - 1)) {
        uint32_t *slot = &t->slots[i];
        if (*slot == 0)
            return slot;
        const lt_tree_rule *rule = &t->rules.at[*slot - 1];
        if (rule->n_name == n && memcmp(t->text + rule->name, name, n) == 0)
            return slot;
    }
}

static int grow_slots(lt_tree *t)
{
    uint32_t n = t->n_slots ? 2 * t->n_slots : 64;
    uint32_t *slots = lt_alloc_zero(n, sizeof *slots);
    if (!slots)
        return lt_tree_no_memory();
    lt_free(t->slots);
    t->slots = slots;
    t->n_slots = n;
    for (uint32_t i = 0; i < t->rules.n; i++)
        *slot_of(t, t->text + t->rules.at[i].name, t->rules.at[i].n_name) = i + 1;
    return LT_OK;
}

int lt_tree_rule_named(lt_tree *t, uint32_t name, uint32_t n_name, uint32_t *rule)
{
    if (2 * (t->rules.n + 1) > t->n_slots)
        LT_TRY(grow_slots(t));
    uint32_t *slot = slot_of(t, t->text + name, n_name);
    if (*slot == 0) {
        if (t->rules.n == LT_GRAMMAR_MAX_RULES)
            return lt_tree_fail(t, name, "more than %d rules", LT_GRAMMAR_MAX_RULES);
        if (!LT_ROOM(&t->rules, 1))
            return lt_tree_no_memory();
        t->rules.at[t->rules.n++] = (lt_tree_rule){.name = name, .n_name = n_name, .used_at = name};
        *slot = t->rules.n;
    }
    *rule = *slot - 1;
    return LT_OK;
}

int64_t lt_tree_find_rule(const lt_tree *t, const char *name, size_t n_name)
{
    return t->n_slots ? (int64_t)*slot_of(t, name, n_name) - 1 : -1;
}

/* ---- tokens --------------------------------------------------------------------------------------------------------- */

/* <[1000]>: text[from .. to) is what stands between the brackets. */
static int read_number(const lt_tree *t, uint32_t from, uint32_t to, int32_t *id)
{
    uint64_t value = 0;
    for (uint32_t i = from; i < to; i++) {
        if (t->text[i] < '0' || t->text[i] > '9')
            return lt_tree_fail(t, i, "expected digits between <[ and ]>, the number of a token");
        value = value < UINT32_MAX ? 10 * value + (uint64_t)(t->text[i] - '0') : value;
    }
    lt_vocab_info info;
    LT_TRY(lt_vocab_describe(t->vocab, &info));
    if (from == to || value >= (uint64_t)info.n_tokens)
        return lt_tree_fail(t, from, "there is no token of that number, the vocabulary has %d", (int)info.n_tokens);
    *id = (int32_t)value;
    return LT_OK;
}

static int find_token(const lt_tree *t, uint32_t from, uint32_t to, int32_t *id)
{
    int32_t ids[LT_GRAMMAR_MAX_TOKEN_NAME + 8];
    size_t n = 0;
    if (to - from > LT_GRAMMAR_MAX_TOKEN_NAME)
        return lt_tree_fail(t, from, "the name of a token has at most %d bytes", LT_GRAMMAR_MAX_TOKEN_NAME);
    int rc = lt_tokenize(t->vocab, t->text + from, to - from, LT_TOK_PARSE_SPECIAL, ids, sizeof ids / sizeof *ids, &n);
    if (rc < 0 && rc != LT_E_CAP)
        return rc;
    if (n != 1)
        return lt_tree_fail(t, from, "%.*s is not one token of this vocabulary", (int)(to - from), t->text + from);
    *id = ids[0];
    return LT_OK;
}

int lt_tree_parse_token(lt_tree_cursor *c, lt_tree_node *out)
{
    const lt_tree *t = c->tree;
    uint32_t opened = c->at;
    bool negated = lt_tree_peek(c) == '!';
    uint32_t from = opened + negated;
    if (from >= t->n_text || t->text[from] != '<')
        return lt_tree_fail(t, from, "expected < and the name of a token after !");
    const char *closing = memchr(t->text + from, '>', t->n_text - from);
    if (!closing)
        return lt_tree_fail(t, from, "expected a closing > for this <, the grammar ends before it");
    uint32_t to = (uint32_t)(closing - t->text) + 1;
    bool by_number = to - from >= 4 && t->text[from + 1] == '[' && t->text[to - 2] == ']';
    int32_t id = -1;
    LT_TRY(by_number ? read_number(t, from + 2, to - 2, &id) : find_token(t, from, to, &id));
    if (lt_token_is_eog(t->vocab, id) == 1)
        return lt_tree_fail(t, from, "this token ends generation: it comes by itself where the grammar is complete");
    c->at = to;
    *out = (lt_tree_node){.kind = LT_TREE_TOKEN, .a = (uint32_t)id, .n = negated};
    return LT_OK;
}
