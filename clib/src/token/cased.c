/* cased.c - the patterns after GPT-4o's, whose words may change from capitals to small letters once. */
#include "token/splitters.h"

/* Scripts whose code points are \p{Han}. */
static const lt_range han[] = {
    {0x2E80, 0x2E99},   {0x2E9B, 0x2EF3},   {0x2F00, 0x2FD5},   {0x3005, 0x3005},   {0x3007, 0x3007},   {0x3021, 0x3029},
    {0x3038, 0x303B},   {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFA6D},   {0xFA70, 0xFAD9},   {0x16FE2, 0x16FE3},
    {0x16FF0, 0x16FF6}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B81E}, {0x2B820, 0x2CEAD}, {0x2CEB0, 0x2EBE0}, {0x2EBF0, 0x2EE5D},
    {0x2F800, 0x2FA1D}, {0x30000, 0x3134A}, {0x31350, 0x33479},
};

static bool is_han(lt_rune r)
{
    return lt_rune_code(r) >= 0x2E80 && lt_in_ranges(han, sizeof han / sizeof *han, lt_rune_code(r));
}

typedef struct {
    bool contractions; /* behind a word */
    bool han_apart;    /* [\p{Han}]+ comes first, and words have none of it */
    uint32_t max_digits;
} rules;

/* Upper: [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]; lower: [\p{Ll}\p{Lm}\p{Lo}\p{M}].  Most scripts' letters are both. */
static inline bool is_upper(rules k, lt_rune r)
{
    return lt_rune_is(r, LT_RUNE_L | LT_RUNE_M) && !lt_rune_is(r, LT_RUNE_LOWER) && !(k.han_apart && is_han(r));
}

static inline bool is_lower(rules k, lt_rune r)
{
    return lt_rune_is(r, LT_RUNE_L | LT_RUNE_M) && !lt_rune_is(r, LT_RUNE_UPPER) && !(k.han_apart && is_han(r));
}

/* upper*lower+ at `at`, or else `at`; *capitals: where upper* alone ends.  When only capitals follow the upper run's last
 * rune that is lower too, the match ends with that rune. */
static inline uint32_t match_lower(rules k, const lt_rune *r, uint32_t at, uint32_t end, uint32_t *capitals)
{
    uint32_t last_lower = at, i = at;
    for (; i < end && is_upper(k, r[i]); i++)
        if (is_lower(k, r[i]))
            last_lower = i + 1;
    *capitals = i;
    while (i < end && is_lower(k, r[i]))
        last_lower = ++i;
    return last_lower;
}

/* prefix? upper*lower+|prefix? upper+lower*, the prefix being [^\r\n\p{L}\p{N}]: `at` when neither is there. */
static inline uint32_t match_word(rules k, const lt_rune *r, uint32_t at, uint32_t end)
{
    bool prefix = !lt_rune_is(r[at], LT_RUNE_L | LT_RUNE_N) && !lt_is_newline(r[at]);
    uint32_t capitals = at, e = at;
    if (prefix && (e = match_lower(k, r, at + 1, end, &capitals)) > at + 1)
        return e;
    uint32_t with_prefix = prefix ? capitals : at;
    e = match_lower(k, r, at, end, &capitals); /* a mark can be the prefix, or begin the word */
    if (e > at)
        return e;
    return prefix ? (with_prefix > at + 1 ? with_prefix : at) : capitals;
}

/* (word contraction?)|\p{N}{1,max_digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static inline uint32_t split(rules k, lt_tail tail, const lt_rune *r, uint32_t at, uint32_t end)
{
    if (k.han_apart && is_han(r[at])) {
        while (at < end && is_han(r[at]))
            at++;
        return at;
    }
    if (lt_rune_is(r[at], LT_RUNE_N))
        return lt_run_of(r, at, end - at > k.max_digits ? at + k.max_digits : end, LT_RUNE_N);
    uint32_t e = match_word(k, r, at, end);
    if (e > at)
        return k.contractions ? e + lt_contraction(r, e, end) : e;
    return lt_split_signs(r, at, end, LT_WORDLESS, tail);
}

uint32_t lt_split_gpt4o(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){true, false, 3}, LT_TAIL_LINES_SLASH, r, at, end);
}

uint32_t lt_split_gpt4o_one_digit(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){true, false, 1}, LT_TAIL_LINES_SLASH, r, at, end);
}

static uint32_t split_tekken(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){false, false, 1}, LT_TAIL_LINES_SLASH, r, at, end);
}

static uint32_t split_kimi(const lt_rune *r, uint32_t at, uint32_t end)
{
    return split((rules){true, true, 3}, LT_TAIL_LINES, r, at, end);
}

const lt_splitter lt_pre_tekken[1] = {split_tekken};
const lt_splitter lt_pre_gpt4o[1] = {lt_split_gpt4o};
const lt_splitter lt_pre_kimi[1] = {split_kimi};
