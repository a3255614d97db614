/* test_override.c - metadata values that the caller replaces: of the kind that the file has, read by something, copied. */
#include <math.h>

#include "check.h"
#include "core/memory.h"
#include "llamatw.h"
#include "tiny_model.h"

enum { F32 = 6, BOOL = 7, STR = 8, I64 = 11 };

static int open_with(const lt_override *overrides, int32_t n, lt_engine_info *info)
{
    lt_engine *e = NULL;
    lt_engine_opts o;
    lt_engine_opts_init(&o);
    o.n_seqs = 2, o.n_batch = 32, o.n_threads = 1, o.n_threads_batch = 1, o.overrides = overrides, o.n_overrides = n;
    const int rc = lt_engine_open(&e, tiny_model(NULL), &o);
    if (rc == LT_OK)
        CHECK(lt_engine_describe(e, info) == LT_OK, "%s", lt_last_error());
    lt_engine_close(e);
    return rc;
}

static void test_replaced_and_added(void)
{
    lt_engine_info info;
    const lt_override good[] = {
        {.key = "llama.context_length", .type = I64, .i = 100},           {.key = "llama.rope.freq_base", .type = F32, .f = 5e5},
        {.key = "llama.rope.scaling.type", .type = STR, .str = "linear"}, {.key = "llama.rope.scaling.factor", .type = F32, .f = 2},
        {.key = "tokenizer.ggml.add_bos_token", .type = BOOL, .i = 0},    {.key = "llama.context_length", .type = I64, .i = 200},
    };
    CHECK(open_with(good, 6, &info) == LT_OK && info.n_ctx_train == 200, "%s", lt_last_error());
    CHECK(open_with(good, 1, &info) == LT_OK && info.n_ctx_train == 100, "%s", lt_last_error());
    CHECK(open_with(NULL, 0, &info) == LT_OK && info.n_ctx_train == TINY_CTX, "%s", lt_last_error());
}

static void test_refused(void)
{
    static char long_text[200];
    memset(long_text, 'x', sizeof long_text - 1);
    const struct {
        lt_override o;
        int code;
        const char *says;
    } bad[] = {
        {{.key = "llama.context_length", .type = STR, .str = "200"}, LT_E_ARG, "not str"},
        {{.key = "llama.context_length", .type = F32, .f = 200}, LT_E_ARG, "not f32"},
        {{.key = "llama.context_length", .type = BOOL, .i = 1}, LT_E_ARG, "not bool"},
        {{.key = "llama.rope.freq_base", .type = I64, .i = 10000}, LT_E_ARG, "has f32 there, not an integer"},
        {{.key = "tokenizer.ggml.tokens", .type = I64, .i = 1}, LT_E_ARG, "has array there"},
        {{.key = "llama.contxt_length", .type = I64, .i = 200}, LT_E_ARG, "nothing reads it"},
        {{.key = "llama.context_length", .type = I64, .i = 0}, LT_E_FORMAT, "llama.context_length"},
        {{.key = "llama.context_length", .type = I64, .i = -5}, LT_E_FORMAT, "llama.context_length"},
        {{.key = "llama.block_count", .type = I64, .i = 3}, LT_E_FORMAT, "is missing"},
        {{.key = "llama.rope.scaling.type", .type = I64, .i = 3}, LT_E_FORMAT, "must be str"},
        {{.key = "llama.rope.freq_base", .type = F32, .f = 1e300}, LT_E_ARG, "finite"},
        {{.key = "llama.rope.freq_base", .type = F32, .f = NAN}, LT_E_ARG, "finite"},
        {{.key = "tokenizer.ggml.add_bos_token", .type = BOOL, .i = 2}, LT_E_ARG, "0 or 1"},
        {{.key = "general.alignment", .type = I64, .i = 64}, LT_E_ARG, "how the file itself is read"},
        {{.key = "split.count", .type = I64, .i = 1}, LT_E_ARG, "how the file itself is read"},
        {{.key = "general.name", .type = STR, .str = long_text}, LT_E_ARG, "127"},
        {{.key = long_text, .type = I64}, LT_E_ARG, "127"},
        {{.key = "", .type = I64}, LT_E_ARG, "127"},
        {{.key = NULL, .type = I64}, LT_E_ARG, "127"},
        {{.key = "general.name", .type = STR}, LT_E_ARG, "127"},
        {{.key = "general.name", .type = 4}, LT_E_ARG, "must be 6, 7, 8 or 11"},
    };
    lt_engine_info info;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int rc = open_with(&bad[i].o, 1, &info);
        CHECK(rc == bad[i].code && strstr(lt_last_error(), bad[i].says), "case %d: code %d (%s)", (int)i, rc, lt_last_error());
    }
    CHECK(open_with(&bad[0].o, -1, &info) == LT_E_ARG, "a negative number of overrides");
    CHECK(open_with(NULL, 1, &info) == LT_E_ARG, "no overrides, but one of them");
}

static void test_divided_pool(void)
{
    lt_engine *e = NULL;
    lt_engine_info info;
    lt_engine_opts o;
    lt_engine_opts_init(&o);
    o.n_ctx = 100, o.n_seqs = 3, o.n_batch = 32, o.n_threads = 1, o.n_threads_batch = 1, o.n_full = 3;
    CHECK(lt_engine_open(&e, tiny_model(NULL), &o) == LT_OK && lt_engine_describe(e, &info) == LT_OK, "%s", lt_last_error());
    CHECK(info.n_ctx == 100 && info.n_pages == 6, "context %d, %d pages", info.n_ctx, info.n_pages);
    lt_engine_close(e);
    o.n_full = 4;
    CHECK(lt_engine_open(&e, tiny_model(NULL), &o) == LT_E_ARG && strstr(lt_last_error(), "n_full"), "%s", lt_last_error());
}

int main(void)
{
    test_replaced_and_added();
    test_refused();
    test_divided_pool();
    const lt_override text = {.key = "llama.rope.scaling.type", .type = STR, .str = "none"};
    lt_engine_info info;
    int n_told = 0;
    for (int64_t n = 1; n < 5; n++) {
        lt_fail_alloc_at(n);
        n_told += open_with(&text, 1, &info) == LT_E_NOMEM;
        lt_fail_alloc_at(0);
    }
    CHECK(n_told == 4, "%d of 4 failing allocations were told", n_told);
    return check_report("override");
}
