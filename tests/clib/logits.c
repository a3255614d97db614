/* logits.c - logits MODEL ID...: computes the ids in one step and the last by itself; the logits after each go to standard output
 * as they lie in memory.  For tests/test_emulated.py, which compares them with another machine's. */
#include <stdio.h>
#include <stdlib.h>

#include "llamatw.h"

static int write_logits(lt_engine *e, int32_t seq, int32_t advance, int32_t n_vocab)
{
    const size_t n = (size_t)advance * (size_t)n_vocab;
    lt_result result;
    float *logits = malloc(n * sizeof *logits);
    int rc = logits ? lt_step(e, &(lt_row){.seq = seq, .advance = advance, .logits = logits}, 1, &result) : LT_E_NOMEM;
    if (rc == LT_OK && fwrite(logits, sizeof *logits, n, stdout) != n)
        rc = LT_E_IO;
    free(logits);
    return rc;
}

static int run(lt_engine *e, const int32_t *ids, int32_t n)
{
    lt_engine_info info;
    lt_sampling s;
    int32_t seq, n_cached;
    lt_sampling_init(&s);
    int rc = lt_engine_describe(e, &info);
    if (rc == LT_OK)
        rc = lt_seq_open(e, ids, n, 0, &s, &seq, &n_cached);
    if (rc == LT_OK && n > 1)
        rc = write_logits(e, seq, n - 1, info.n_vocab);
    return rc == LT_OK ? write_logits(e, seq, 1, info.n_vocab) : rc;
}

int main(int argc, char **argv)
{
    const int32_t n = argc - 2;
    lt_engine *e = NULL;
    lt_engine_opts o;
    lt_engine_opts_init(&o);
    o.n_ctx = o.n_batch = 128, o.n_seqs = 1, o.n_threads = o.n_threads_batch = 2;
    int32_t ids[128];
    if (n < 1 || n > o.n_batch)
        return fprintf(stderr, "logits MODEL ID...: 1 to %d ids\n", o.n_batch), 2;
    for (int32_t i = 0; i < n; i++)
        ids[i] = atoi(argv[2 + i]);
    int rc = lt_engine_open(&e, argv[1], &o);
    if (rc == LT_OK)
        rc = run(e, ids, n);
    if (rc != LT_OK)
        fprintf(stderr, "%s\n", lt_last_error());
    lt_engine_close(e);
    return rc != LT_OK;
}
