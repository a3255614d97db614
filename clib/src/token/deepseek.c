/* deepseek.c - the pretokeniser of DeepSeek LLM (V1, V2): six patterns over explicit ranges. */
#include "token/splitters.h"

/* The cased letters beyond ASCII that its second pattern lists, ascending. */
static const lt_range letters[] = {
    {0x00B5, 0x00B5},   {0x00C0, 0x00D6},   {0x00D8, 0x00F6},   {0x00F8, 0x01BA},   {0x01BC, 0x01BF},   {0x01C4, 0x0293},
    {0x0295, 0x02AF},   {0x0370, 0x0373},   {0x0376, 0x0376},   {0x0377, 0x0377},   {0x037B, 0x037D},   {0x037F, 0x037F},
    {0x0386, 0x0386},   {0x0388, 0x038A},   {0x038C, 0x038C},   {0x038E, 0x03A1},   {0x03A3, 0x03F5},   {0x03F7, 0x0481},
    {0x048A, 0x052F},   {0x0531, 0x0556},   {0x10A0, 0x10C5},   {0x13A0, 0x13F5},   {0x13F8, 0x13FD},   {0x1C90, 0x1CBA},
    {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},   {0x1D6B, 0x1D77},   {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},   {0x1F18, 0x1F1D},
    {0x1F20, 0x1F45},   {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},   {0x1F5B, 0x1F5B},   {0x1F5D, 0x1F5D},
    {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},   {0x1FB6, 0x1FBC},   {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},
    {0x1FD0, 0x1FD3},   {0x1FD6, 0x1FDB},   {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},   {0x1FF6, 0x1FFC},   {0x2102, 0x2102},
    {0x2107, 0x2107},   {0x210A, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},
    {0x2128, 0x2128},   {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},   {0x213C, 0x213F},   {0x2145, 0x2149},
    {0x214E, 0x214E},   {0x2183, 0x2183},   {0x2184, 0x2184},   {0x2C00, 0x2C7B},   {0x2C7E, 0x2CE4},   {0x2CEB, 0x2CEE},
    {0x2CF2, 0x2CF2},   {0x2CF3, 0x2CF3},   {0xA640, 0xA66D},   {0xA680, 0xA69B},   {0xA722, 0xA76F},   {0xA771, 0xA787},
    {0xA78B, 0xA78E},   {0xAB70, 0xABBF},   {0xFB00, 0xFB06},   {0xFB13, 0xFB17},   {0xFF21, 0xFF3A},   {0xFF41, 0xFF5A},
    {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB}, {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF},
    {0x1E900, 0x1E943},
};

static bool is_letter(uint32_t c)
{
    return c < 0x80 ? lt_is_ascii_letter(c) : lt_in_ranges(letters, sizeof letters / sizeof *letters, c);
}

/* [!-/:-~] takes ASCII letters too: pieces that mix them with other letters are cut again by the third pattern. */
static bool is_mark(uint32_t c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '~') || (c >= 0x2018 && c <= 0x201F) || (c >= 0x3000 && c <= 0x3002) ||
           (c >= 0xFF01 && c <= 0xFF0F) || (c >= 0xFF1A && c <= 0xFF5E);
}

static bool is_east_asian(uint32_t c)
{
    return (c >= 0x0800 && c <= 0x9FA5) || (c >= 0xAC00 && c <= 0xD7FF);
}

/* [\r\n] */
static uint32_t match_newline(const lt_rune *r, uint32_t at, uint32_t end)
{
    return at + lt_is_newline(r[at]);
}

/* \s?[class]+ */
static inline uint32_t match_spaced(const lt_rune *r, uint32_t at, uint32_t end, bool (*is)(uint32_t))
{
    uint32_t first = at + lt_rune_is(r[at], LT_RUNE_SPACE), i = first;
    while (i < end && is(lt_rune_code(r[i])))
        i++;
    return i > first ? i : at;
}

static uint32_t match_letters(const lt_rune *r, uint32_t at, uint32_t end)
{
    return match_spaced(r, at, end, is_letter);
}

static uint32_t match_marks(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t e = match_spaced(r, at, end, is_mark);
    if (e == at && lt_rune_code(r[at]) == 0x3000) /* a space that is a mark too: the optional part gives way */
        return at + 1;
    return e;
}

/* [east Asian]+ */
static uint32_t match_east_asian(const lt_rune *r, uint32_t at, uint32_t end)
{
    while (at < end && is_east_asian(lt_rune_code(r[at])))
        at++;
    return at;
}

uint32_t lt_split_newline(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_newline, r, at, end);
}

static uint32_t split_letters(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_letters, r, at, end);
}

static uint32_t split_marks(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_marks, r, at, end);
}

uint32_t lt_split_east_asian(const lt_rune *r, uint32_t at, uint32_t end)
{
    return lt_split_by(match_east_asian, r, at, end);
}

/* \s+$ */
static uint32_t split_last_spaces(const lt_rune *r, uint32_t at, uint32_t end)
{
    uint32_t tail = end;
    while (tail > at && lt_rune_is(r[tail - 1], LT_RUNE_SPACE))
        tail--;
    return tail > at ? tail : end;
}

const lt_splitter lt_pre_deepseek_llm[6] = {lt_split_newline,  split_letters,       split_marks,
                                            split_last_spaces, lt_split_east_asian, lt_split_number_runs};
