/* text_forms.c - how the texts of a file spell the bytes that tokens stand for. */
#include <string.h>

#include "token/vocab_data.h"

bool lt_copy_spaced(uint8_t *out, const char *text, size_t n, size_t *n_out)
{
    bool pure = true;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        pure = pure && text[i] != ' ';
        if (n - i >= 3 && memcmp(text + i, "\xE2\x96\x81", 3) == 0) {
            out[used++] = ' ';
            i += 2;
        } else {
            out[used++] = (uint8_t)text[i];
        }
    }
    *n_out = used;
    return pure;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Two hexadecimal digits, -1: they are something else. */
static int hex_byte(const char *text)
{
    int high = hex_digit(text[0]), low = hex_digit(text[1]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

int lt_parse_byte(const char *text, uint64_t n)
{
    return n == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>' ? hex_byte(text + 3) : -1;
}

size_t lt_copy_unescaped(uint8_t *out, const char *text, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '\\' || i + 1 == n) {
            out[used++] = (uint8_t)text[i];
            continue;
        }
        char c = text[++i];
        int byte = c == 'x' && n - i > 2 ? hex_byte(text + i + 1) : -1;
        out[used++] = byte >= 0 ? (uint8_t)byte : c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : (uint8_t)c;
        i += byte >= 0 ? 2 : 0;
    }
    return used;
}
