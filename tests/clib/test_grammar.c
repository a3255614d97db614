/* test_grammar.c - grammars from C: what is refused and how it is said, hostile texts, mutants, every failing allocation,
 * states that are collected at every call. */
#include <time.h>

#include "check.h"
#include "vocab_build.h"

#include "core/memory.h"
#include "grammar/grammar.h"

enum { N_MUTANTS = 6000, MASK_WORDS = (N_TOKENS + 31) / 32 };

static uint32_t random_state = 4711;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static lt_vocab *open_vocab(void)
{
    lt_gguf *g = NULL;
    lt_vocab *v = NULL;
    CHECK(lt_gguf_open(&g, write_vocab(&(wishes){.model = "llama"})) == LT_OK, "%s", lt_last_error());
    CHECK(lt_vocab_open(&v, g) == LT_OK, "%s", lt_last_error());
    lt_gguf_close(g);
    return v;
}

static int open_text(const lt_vocab *v, const char *text, lt_grammar **g)
{
    *g = NULL;
    return lt_grammar_open(g, v, text, strlen(text), NULL);
}

/* Bytes of the text that are taken, by tokens of one byte (their ids are the bytes). */
static size_t n_taken(lt_gstate *s, const char *text)
{
    size_t n = 0;
    while (text[n] && lt_gstate_advance(s, (uint8_t)text[n]) == 1)
        n++;
    return n;
}

/* ---- sentences ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *text, *says;
} refused[] = {
    {"", "line 1, column 1: expected a rule"},
    {" # only\n", "expected a rule"},
    {"root", "line 1, column 5: expected ::="},
    {"root ::= \"a", "column 10: expected a closing \""},
    {"root ::= [a-z", "column 10: expected a closing ]"},
    {"root ::= []", "column 10: no character"},
    {"root ::= [\\x00]", "no character"},
    {"root ::= [z-a]", "column 11: the range"},
    {"root ::= \"\xFF\"", "column 11: the text is not UTF-8"},
    {"root ::= \"\xC0\x80\"", "not UTF-8"},
    {"root ::= \"\xED\xA0\x80\"", "not UTF-8"},
    {"root ::= \"\\q\"", "column 11: unknown escape"},
    {"root ::= \"\\u12\"", "column 15: expected a hexadecimal digit"},
    {"root ::= \"\\U00110000\"", "U+110000 is beyond"},
    {"root ::= \"\\uD800\"", "U+D800 cannot"},
    {"root ::= \"\\x00\"", "U+0000 cannot"},
    {"root ::= (\"a\"", "column 14: expected an item, | or the )"},
    {"root ::= \"a\")", "column 13: expected an item, | or the end"},
    {"root ::= \"a\"\n | \"b\"", "line 2, column 2: expected the name of a rule"},
    {"root ::= \"\xC3\xA9\" *\r\n  )", "line 2, column 3"},
    {"root ::= * \"a\"", "nothing before this *"},
    {"root ::= (\"a\" | +)", "nothing before this +"},
    {"root ::= \"a\"{3,1}", "at least 3 repetitions, but at most 1"},
    {"root ::= \"a\"{}", "expected a number"},
    {"root ::= \"a\"{,}", "expected a number"},
    {"root ::= \"a\"{2", "expected }"},
    {"root ::= \"a\"{9223372036854775808}", "more than 1073741824 repetitions"},
    {"root ::= \"a\"*****", "more than 4 repetition marks"},
    {"root ::= x\ny ::= z", "line 1, column 10: there is no rule \"x\""},
    {"r ::= \"a\"", "no rule \"root\""},
    {"root ::= root", "\"root\" begins with itself"},
    {"root ::= root \"a\" | \"b\"", "begins with itself"},
    {"root ::= x\nx ::= y \"a\"\ny ::= z* x\nz ::= \"q\"?", "begins with itself"},
    {"root ::= \"a\" x\nx ::= (\"\" x){2}", "\"x\" begins with itself"},
    {"root ::= (y \"\"?){2} x\ny ::= \"\"\nx ::= root", "begins with itself"},
    {"root ::= (\"a\"?){1,257}", "up to 257 times"},
    {"root ::= <nope>", "<nope> is not one token"},
    {"root ::= <[99999]>", "no token of that number"},
    {"root ::= <[]>", "no token of that number"},
    {"root ::= <[1x]>", "expected digits"},
    {"root ::= !\"a\"", "expected < and the name"},
    {"root ::= <abc", "expected a closing >"},
    {"root ::= <|im_end|>", "ends generation"},
};

static void test_refusals(const lt_vocab *v)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        lt_grammar *g;
        int rc = open_text(v, refused[i].text, &g);
        CHECK(rc < 0 && !g && strstr(lt_last_error(), refused[i].says), "case %zu: rc %d, %s", i, rc, lt_last_error());
        lt_grammar_close(g);
    }
}

/* ---- hostile texts ---------------------------------------------------------------------------------------------------- */

enum { HUGE_BYTES = 2 << 20 };
static char huge[HUGE_BYTES + 1];

static size_t repeat(size_t at, const char *what, int times)
{
    for (size_t n = strlen(what); times > 0 && at + n < HUGE_BYTES; times--, at += n)
        memcpy(huge + at, what, n);
    huge[at] = 0;
    return at;
}

static size_t write_chain(int n_rules)
{
    size_t at = repeat(0, "root ::= r0\n", 1);
    for (int i = 0; i < n_rules; i++)
        at += (size_t)snprintf(huge + at, 64, "r%d ::= r%d\n", i, i + 1);
    return at + (size_t)snprintf(huge + at, 64, "r%d ::= \"a\"\n", n_rules);
}

static void expect(const lt_vocab *v, const char *what, int wanted)
{
    lt_grammar *g = NULL;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    int rc = lt_grammar_open(&g, v, huge, strlen(huge), NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ms = 1e3 * (double)(to.tv_sec - from.tv_sec) + 1e-6 * (double)(to.tv_nsec - from.tv_nsec);
    CHECK(rc == wanted && ms < 20e3, "%s: rc %d after %.0f ms: %s", what, rc, ms, rc < 0 ? lt_last_error() : "");
    printf("%-28s %6.1f ms  %s\n", what, ms, rc < 0 ? lt_last_error() : "opened");
    lt_grammar_close(g);
}

static void test_hostile(const lt_vocab *v)
{
    repeat(repeat(0, "root ::= ", 1), "(", 18800);
    expect(v, "open parentheses", LT_E_FORMAT);
    repeat(repeat(repeat(repeat(0, "root ::= ", 1), "(", 256), "\"a\"", 1), ")", 256);
    expect(v, "256 parentheses", LT_OK);
    repeat(repeat(repeat(repeat(0, "root ::= ", 1), "(", 256), "\"a\"", 1), ")??", 256);
    expect(v, "256 marked parentheses", LT_OK);
    write_chain(60000);
    expect(v, "a chain of 60000 rules", LT_E_LIMIT);
    write_chain(50000);
    expect(v, "a chain of 50000 rules", LT_OK);
    huge[write_chain(65000) - 1] = 0;
    expect(v, "a chain of 65000 rules", LT_E_LIMIT);
    repeat(repeat(0, "root ::= ", 1), "\"a\" | ", 100000);
    expect(v, "100000 equal alternatives", LT_OK);
    repeat(repeat(0, "root ::= ", 1), "[a] | ", 100000);
    expect(v, "100000 classes", LT_E_LIMIT);
    repeat(repeat(0, "root ::= ", 1), ".", 1000000);
    expect(v, "1000000 characters", LT_E_LIMIT);
    repeat(repeat(0, "root ::= ", 1), "[^a]", 10000);
    expect(v, "10000 negated classes", LT_OK);
    repeat(repeat(repeat(0, "root ::= [", 1), "\xE6\x97\xA5\xC3\xA9z-\xF0\x9F\x98\x80", 90000), "]", 1);
    expect(v, "a huge class", LT_OK);
    repeat(0, "root ::= (([a-z]{1000000}){1000000}){1000000}", 1);
    expect(v, "nested counts", LT_OK);
    repeat(0, "root ::= ((\"\")*)* (((\"a\"?)*)+)? \"b\"", 1);
    expect(v, "loops over nothing", LT_OK);
    repeat(0, "root ::= (((\"a\"?){256}){256}){256}", 1);
    expect(v, "counted loops over nothing", LT_E_LIMIT);
    repeat(repeat(repeat(0, "root ::= \"", 1), "a", 500000), "\" | \"b\"", 1);
    expect(v, "a long text", LT_OK);
    repeat(repeat(0, "root ::= \"a\"\n# ", 1), "x", HUGE_BYTES);
    expect(v, "two MiB", LT_E_LIMIT);
}

/* Steps of an "a" that the grammar goes along with; what stopped it in *rc, and what the mask said then in *mask_rc. */
static int n_steps(const lt_vocab *v, const char *text, int most, int *rc, int *mask_rc)
{
    lt_grammar *g;
    lt_gstate *s = NULL;
    int n = 0;
    CHECK(open_text(v, text, &g) == LT_OK && lt_gstate_open(&s, g) == LT_OK, "%s", lt_last_error());
    for (*rc = 1; n < most && *rc == 1; n += *rc == 1) {
        uint32_t words[MASK_WORDS];
        int32_t n_allowed = 0;
        *mask_rc = lt_gstate_mask(s, words, MASK_WORDS, &n_allowed);
        *rc = lt_gstate_advance(s, 'a');
    }
    lt_gstate_close(s);
    lt_grammar_close(g);
    return n;
}

/* 2^n ways to read n letters end the sequence; many ways that come to the same do not. */
static void test_ambiguity(const lt_vocab *v)
{
    int rc, mask_rc;
    int n = n_steps(v, "root ::= \"a\" root p | \"a\" root q | \"a\"\np ::= \"b\"\nq ::= \"b\"", 1000, &rc, &mask_rc);
    CHECK(rc == LT_E_LIMIT && mask_rc == LT_E_LIMIT && n > 8 && n < 14, "rc %d, %d after %d", rc, mask_rc, n);
    CHECK(strstr(lt_last_error(), "too many ways"), "%s", lt_last_error());
    n = n_steps(v, "root ::= y y | y\ny ::= \"a\" root | \"a\"", 1000, &rc, &mask_rc);
    CHECK(rc == 1 && mask_rc == LT_OK && n == 1000, "rc %d, %d after %d", rc, mask_rc, n);
}

static void test_depth(const lt_vocab *v)
{
    lt_grammar *g;
    lt_gstate *s = NULL;
    int rc = 1, n = 0;
    CHECK(open_text(v, "root ::= \"[\" root \"]\" | \"x\"", &g) == LT_OK && lt_gstate_open(&s, g) == LT_OK, "%s", lt_last_error());
    for (; n < 2 * LT_MAX_STACK && rc == 1; n++)
        rc = lt_gstate_advance(s, '[');
    CHECK(rc == LT_E_LIMIT && n == LT_MAX_STACK + 1, "rc %d after %d", rc, n);
    CHECK(n_taken(s, "x]]") == 3, "the state is as it was before");
    lt_gstate_close(s);
    lt_grammar_close(g);
}

/* ---- good ones, mutants, failing allocations -------------------------------------------------------------------------- */

static const char *const good[] = {
    "root ::= item (\",\" item)* \".\"\nitem ::= [a-z] [a-z]? | \"b\\u00e9\\U0001F600\" # comment\n",
    "root ::= \"a\"{2,3} [^\\x00-\\x1F\"]{0,60} (\"ab\" | \"abc\" | \"b\" x | x)\nx ::= <[258]> | !<[259]> \"c\"",
    "root ::= \"[\" (root (\",\" root)*)? \"]\" | [0-9]+ | \"\xE6\x97\xA5\" .\r\n",
    "root ::= (a | b)\na ::= \"x\" a \"y\" | \"\"\nb ::= (\"p\"? \"q\"?){3} b2*\nb2 ::= [a-f\\]^-]{2,}",
};
enum { N_GOOD = sizeof good / sizeof *good };

/* Some tokens: advance takes those of the mask. */
static int try_tokens(const lt_gstate *s, lt_gstate *spare, const uint32_t *words)
{
    int rc = LT_OK;
    for (int tries = 0; tries < 40 && rc >= 0; tries++) {
        int32_t token = (int32_t)random_below(N_TOKENS);
        LT_TRY(lt_gstate_copy(spare, s));
        rc = lt_gstate_advance(spare, token);
        CHECK(rc < 0 || rc == (int)(words[token / 32] >> (token % 32) & 1), "token %d: %d", token, rc);
    }
    return rc < 0 ? rc : LT_OK;
}

static int take_one_of(lt_gstate *s, const uint32_t *words, int32_t n_allowed)
{
    int32_t pick = n_allowed ? (int32_t)random_below((uint32_t)n_allowed) : -1;
    for (int32_t id = 0; id < N_TOKENS && pick >= 0; id++)
        if (words[id / 32] >> (id % 32) & 1 && pick-- == 0) {
            int rc = lt_gstate_advance(s, id);
            CHECK(rc != 0, "token %d of the mask is refused", id);
            return rc;
        }
    return LT_OK;
}

/* Follows allowed tokens at random; a mask is the same after the pool has been collected. */
static int wander_from(lt_gstate *s, lt_gstate *spare, lt_grammar *g, int n_steps, bool collect)
{
    uint32_t words[MASK_WORDS], again[MASK_WORDS];
    int32_t n_allowed = 0;
    for (int step = 0; step < n_steps; step++) {
        LT_TRY(lt_gstate_mask(s, words, MASK_WORDS, &n_allowed));
        LT_TRY(try_tokens(s, spare, words));
        g->collect_at = collect ? 0 : LT_POOL_BYTES;
        LT_TRY(lt_gstate_mask(s, again, MASK_WORDS, &n_allowed));
        CHECK(memcmp(words, again, sizeof words) == 0, "a mask has changed");
        LT_TRY(take_one_of(s, words, n_allowed));
    }
    return LT_OK;
}

static int wander(lt_grammar *g, int n_steps, bool collect)
{
    lt_gstate *s = NULL, *spare = NULL;
    int rc = lt_gstate_open(&s, g);
    if (rc == LT_OK)
        rc = lt_gstate_fork(&spare, s);
    if (rc == LT_OK)
        rc = wander_from(s, spare, g, n_steps, collect);
    lt_gstate_close(spare);
    lt_gstate_close(s);
    return rc;
}

static void test_good(const lt_vocab *v)
{
    for (int i = 0; i < 4 * N_GOOD; i++) {
        lt_grammar *g;
        CHECK(open_text(v, good[i % N_GOOD], &g) == LT_OK, "%d: %s", i, lt_last_error());
        CHECK(wander(g, 60, i >= N_GOOD) == LT_OK, "%d: %s", i, lt_last_error());
        lt_grammar_close(g);
    }
}

/* Some bytes replaced, taken out or put in: how many are left of n, with room for four more. */
static size_t mutate(char *text, size_t n)
{
    static const char alphabet[] = "\"\"[]()|*+?{}{},0123456789abrot:=\n\\^-.!<>x#\xC3\xA9";
    for (uint32_t k = 1 + random_below(4); k > 0; k--) {
        size_t at = random_below((uint32_t)n);
        uint32_t kind = random_below(3);
        if (kind == 1)
            memmove(text + at, text + at + 1, --n - at);
        if (kind == 2)
            memmove(text + at + 1, text + at, n++ - at);
        if (kind != 1)
            text[at] = alphabet[random_below(sizeof alphabet)];
    }
    return n;
}

static void test_mutants(const lt_vocab *v)
{
    int n_opened = 0;
    for (int i = 0; i < N_MUTANTS; i++) {
        char text[512];
        lt_grammar *g = NULL;
        size_t n = strlen(good[i % N_GOOD]);
        memcpy(text, good[i % N_GOOD], n);
        n = mutate(text, n);
        int rc = lt_grammar_open(&g, v, text, n, NULL);
        CHECK(rc == LT_OK || rc == LT_E_FORMAT || rc == LT_E_LIMIT, "rc %d: %s", rc, lt_last_error());
        if (rc == LT_OK)
            wander(g, 4, i % 2);
        n_opened += rc == LT_OK;
        lt_grammar_close(g);
    }
    CHECK(n_opened > N_MUTANTS / 20 && n_opened < N_MUTANTS, "%d opened", n_opened);
}

static int open_lazy(const lt_vocab *v, lt_grammar **g)
{
    static const char *const words[] = {"abab", "abc"};
    static const int32_t tokens[] = {'z'};
    lt_grammar_opts o = {.struct_size = sizeof o, .words = words, .n_words = 2, .tokens = tokens, .n_tokens = 1};
    static const char text[] = "root ::= (\"abab\" | \"abc\" | \"z\") [0-9]{2,40} \"!\"";
    *g = NULL;
    return lt_grammar_open(g, v, text, sizeof text - 1, &o);
}

static void test_failing_allocations(void)
{
    for (int i = 0; i <= N_GOOD; i++) {
        int rc = LT_E_NOMEM;
        for (int64_t at = 1; rc == LT_E_NOMEM && at < 3000; at++) {
            lt_vocab *v = open_vocab();
            lt_grammar *g = NULL;
            random_state = 99;
            lt_fail_alloc_at(at);
            rc = i == N_GOOD ? open_lazy(v, &g) : open_text(v, good[i], &g);
            if (rc == LT_OK)
                rc = wander(g, 12, true);
            lt_fail_alloc_at(0);
            if (g)
                CHECK(rc == LT_OK || (random_state = 99, wander(g, 12, false) == LT_OK), "unusable after a failure: %s", lt_last_error());
            lt_grammar_close(g);
            lt_vocab_close(v);
        }
        CHECK(rc == LT_OK, "%d: rc %d, %s", i, rc, lt_last_error());
    }
}

/* ---- triggers, lives -------------------------------------------------------------------------------------------------- */

static void test_triggers(const lt_vocab *v)
{
    lt_grammar *g;
    lt_gstate *s = NULL;
    CHECK(open_lazy(v, &g) == LT_OK && lt_gstate_open(&s, g) == LT_OK, "%s", lt_last_error());
    CHECK(lt_gstate_flags(s) == (LT_GSTATE_COMPLETE | LT_GSTATE_WAITING), "flags %d", lt_gstate_flags(s));
    CHECK(n_taken(s, "xxababx") == 6, "the word begins the text"); /* the last x is refused */
    CHECK(lt_gstate_flags(s) == 0 && n_taken(s, "12!") == 3 && lt_gstate_flags(s) == LT_GSTATE_COMPLETE, "flags %d", lt_gstate_flags(s));
    lt_gstate_close(s);
    CHECK(lt_gstate_open(&s, g) == LT_OK && n_taken(s, "abaabcc") == 6, "a word that begins within the beginning of another");
    lt_gstate_close(s);
    CHECK(lt_gstate_open(&s, g) == LT_OK && n_taken(s, "z7z") == 2, "a token");
    lt_gstate_close(s);
    lt_grammar_close(g);
}

static void test_lives(void)
{
    lt_vocab *v = open_vocab();
    lt_grammar *g;
    lt_gstate *s = NULL, *t = NULL;
    CHECK(open_text(v, "root ::= \"ab\" | \"abc\"", &g) == LT_OK && lt_gstate_open(&s, g) == LT_OK, "%s", lt_last_error());
    lt_vocab_close(v);
    lt_grammar_close(g);
    CHECK(lt_gstate_fork(&t, s) == LT_OK && n_taken(t, "abd") == 2 && n_taken(s, "b") == 0, "a fork goes its own way");
    char out[8];
    size_t n = 0;
    CHECK(lt_gstate_forced(s, out, sizeof out, &n) == LT_OK && n == 2 && memcmp(out, "ab", 2) == 0, "forced %zu", n);
    CHECK(lt_gstate_forced(t, out, sizeof out, &n) == LT_OK && n == 0, "may end: nothing is forced");
    CHECK(lt_gstate_advance(s, N_TOKENS) == LT_E_ARG && lt_gstate_advance(s, -1) == LT_E_ARG, "%s", lt_last_error());
    lt_gstate_close(s);
    lt_gstate_close(t);
}

int main(void)
{
    lt_vocab *v = open_vocab();
    test_refusals(v);
    test_hostile(v);
    test_ambiguity(v);
    test_depth(v);
    test_good(v);
    test_mutants(v);
    test_failing_allocations();
    test_triggers(v);
    test_lives();
    lt_vocab_close(v);
    return check_report("test_grammar");
}
