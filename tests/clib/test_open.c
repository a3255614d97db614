/* test_open.c - models of many kinds opened with one allocation after another failing: LT_E_NOMEM, no engine, nothing left behind.
 * The files are reference data that projects share; without LLAMATW_SHARED there is nothing to open. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "core/memory.h"
#include "llamatw.h"

static int open_once(const char *path, int64_t failing)
{
    lt_engine_opts o;
    lt_engine *e = NULL;
    lt_engine_opts_init(&o);
    o.n_ctx = 128, o.n_seqs = 2, o.n_batch = 16, o.n_threads = o.n_threads_batch = 1;
    lt_fail_alloc_at(failing);
    const int rc = lt_engine_open(&e, path, &o);
    lt_fail_alloc_at(0);
    CHECK((rc == LT_OK) == (e != NULL), "%s: code %d and an engine", path, rc);
    lt_engine_close(e);
    return rc;
}

int main(void)
{
    /* learned positions; ALiBi; sinks; latents in two forms, one of them turned; every kind of recurrent layer */
    static const char *const cases[] = {"gpt2", "bloom", "gpt-oss", "deepseek3", "minicpm3", "jamba", "falcon-h1", "lfm2", "qwen35moe"};
    const char *shared = getenv("LLAMATW_SHARED");
    if (!shared)
        puts("open: skipped, LLAMATW_SHARED names no reference data");
    for (size_t i = 0; shared && i < sizeof cases / sizeof *cases; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/oracles/%s/model.gguf", shared, cases[i]);
        int64_t n = 1;
        for (int rc; (rc = open_once(path, n)) != LT_OK && n < 2000; n++)
            CHECK(rc == LT_E_NOMEM, "%s: allocation %d failed: code %d (%s)", cases[i], (int)n, rc, lt_last_error());
        CHECK(n > 80 && n < 2000, "%s: %d allocations", cases[i], (int)n);
    }
    return check_report("open");
}
