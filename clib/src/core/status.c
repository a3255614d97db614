/* status.c - the per-thread error sentence. */
#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char message[512];

/* Keeps the sentence printable and valid: strangers' files put anything into names. */
static void make_printable(char *s)
{
    for (unsigned char *p = (unsigned char *)s; *p; p++)
        if (*p < 0x20 || *p >= 0x7f)
            *p = '?';
}

int lt_fail(int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    make_printable(message);
    return code;
}

const char *lt_last_error(void)
{
    return message;
}
