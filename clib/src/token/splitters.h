/* splitters.h - what the splitter files share. */
#ifndef LT_SPLITTERS_H
#define LT_SPLITTERS_H

#include "token/pretokens.h"

enum { LT_WORDLESS = LT_RUNE_SPACE | LT_RUNE_L | LT_RUNE_N };

/* End of a match that starts at `at`, or `at`: none.  Must be O(length of its match). */
typedef uint32_t (*lt_matcher)(const lt_rune *r, uint32_t at, uint32_t end);

/* The splitter of a pattern that leaves gaps: a match at `at`, or all that stands before the next match. */
static inline uint32_t lt_split_by(lt_matcher match, const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t e = match(r, at, end);
    if (e > at)
        return e;
    do
        at++;
    while (at < end && match(r, at, end) == at);
    return at;
}

static inline uint32_t lt_run_of(const lt_rune *r, uint32_t at, uint32_t end, uint32_t classes)
{
    while (at < end && lt_rune_is(r[at], classes))
        at++;
    return at;
}

static inline uint32_t lt_run_of_none(const lt_rune *r, uint32_t at, uint32_t end, uint32_t classes)
{
    while (at < end && !lt_rune_is(r[at], classes))
        at++;
    return at;
}

static inline bool lt_is_newline(lt_rune r)
{
    return lt_rune_code(r) == '\n' || lt_rune_code(r) == '\r';
}

static inline bool lt_is_ascii_letter(uint32_t code)
{
    return (code | 0x20) >= 'a' && (code | 0x20) <= 'z';
}

/* Is the code point in one of n ascending ranges? */
typedef struct {
    uint32_t from, to;
} lt_range;
static inline bool lt_in_ranges(const lt_range *ranges, size_t n, uint32_t code)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (code > ranges[middle].to)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && code >= ranges[low].from;
}

/* (?i:'s|'t|'m|'d|'re|'ve|'ll): length of the one that starts at `at`, or 0.  U+017F is a small s, whatever the case. */
static inline uint32_t lt_contraction(const lt_rune *r, uint32_t at, uint32_t end)
{
    if (end - at < 2 || lt_rune_code(r[at]) != '\'')
        return 0;
    uint32_t a = lt_rune_code(r[at + 1]) | 0x20;
    if (a == 's' || a == 't' || a == 'm' || a == 'd' || lt_rune_code(r[at + 1]) == 0x17F)
        return 2;
    uint32_t b = end - at < 3 ? 0 : lt_rune_code(r[at + 2]) | 0x20;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* \s+(?!\S)|\s+ at a space: all of the run, less its last rune when a word follows. */
static inline uint32_t lt_space_run(uint32_t at, uint32_t run_end, uint32_t end)
{
    return run_end == end || run_end - at == 1 ? run_end : run_end - 1;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ at a space. */
static inline uint32_t lt_line_run(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t run_end = lt_run_of(r, at, end, LT_RUNE_SPACE);
    for (uint32_t i = run_end; i > at; i--)
        if (lt_is_newline(r[i - 1]))
            return i;
    return lt_space_run(at, run_end, end);
}

/* What may stand behind a run of signs: */
typedef enum {
    LT_TAIL_NONE,
    LT_TAIL_LINES,        /* [\r\n]* */
    LT_TAIL_LINES_SLASH,  /* [\r\n/]* */
    LT_TAIL_ONE_OF_THOSE, /* [\r\n/]? */
} lt_tail;

static inline uint32_t lt_tail_end(const lt_rune *r, uint32_t at, uint32_t end, lt_tail tail)
{
    uint32_t limit = tail == LT_TAIL_NONE ? at : tail == LT_TAIL_ONE_OF_THOSE && end > at ? at + 1 : end;
    while (at < limit && (lt_is_newline(r[at]) || (tail != LT_TAIL_LINES && lt_rune_code(r[at]) == '/')))
        at++;
    return at;
}

/* What follows the words in most patterns:  ?[^\s\p{L}\p{N}]+ tail|\s*[\r\n]+|\s+(?!\S)|\s+; wordless: the classes that no
 * sign has. */
static inline uint32_t lt_split_signs(const lt_rune *r, uint32_t at, uint32_t end, uint32_t wordless, lt_tail tail)
{
    uint32_t sign = at + (lt_rune_code(r[at]) == ' ' && end - at > 1);
    if (lt_rune_is(r[sign], wordless))
        return lt_line_run(r, at, end);
    return lt_tail_end(r, lt_run_of_none(r, sign, end, wordless), end, tail);
}

/* splitters.c: words of GPT-2, of Llama 3 (\p{N}{1,3}) and of Qwen 2 (\p{N}); numbers */
uint32_t lt_split_words(const lt_rune *r, uint32_t at, uint32_t end);
uint32_t lt_split_llama3(const lt_rune *r, uint32_t at, uint32_t end);
uint32_t lt_split_qwen2(const lt_rune *r, uint32_t at, uint32_t end);
uint32_t lt_split_number(const lt_rune *r, uint32_t at, uint32_t end);
uint32_t lt_split_number_runs(const lt_rune *r, uint32_t at, uint32_t end);
/* cased.c */
uint32_t lt_split_gpt4o(const lt_rune *r, uint32_t at, uint32_t end);
uint32_t lt_split_gpt4o_one_digit(const lt_rune *r, uint32_t at, uint32_t end);
/* digits.c: \p{N}{1,3}; [0-9][0-9][0-9] */
uint32_t lt_split_three_numbers(const lt_rune *r, uint32_t at, uint32_t end);
uint32_t lt_split_triples(const lt_rune *r, uint32_t at, uint32_t end);
/* deepseek.c */
uint32_t lt_split_newline(const lt_rune *r, uint32_t at, uint32_t end);
uint32_t lt_split_east_asian(const lt_rune *r, uint32_t at, uint32_t end);
/* deepseek3.c */
uint32_t lt_split_deepseek3_words(const lt_rune *r, uint32_t at, uint32_t end);
/* ranges.c: [^\n]+|[\n]+; runs of Han and kana; runs of the scripts without spaces */
uint32_t lt_split_lines(const lt_rune *r, uint32_t at, uint32_t end);
uint32_t lt_split_han_kana(const lt_rune *r, uint32_t at, uint32_t end);
uint32_t lt_split_asian_runs(const lt_rune *r, uint32_t at, uint32_t end);

#endif
