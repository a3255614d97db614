/* test_reading.c - the ways out of a file: mapped, read and read directly they give the same bytes; a file that shrinks is an error. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "core/memory.h"
#include "gguf/gguf.h"
#include "tiny_model.h"

static const int32_t ways[] = {LT_LOAD_MMAP, LT_LOAD_READ, LT_LOAD_DIRECT};

static lt_gguf *open_for(int32_t load)
{
    lt_gguf *g = NULL;
    const int rc = lt_gguf_open_for(&g, scratch()->path, load);
    CHECK(rc == LT_OK || (load == LT_LOAD_DIRECT && rc == LT_E_UNSUPPORTED && strstr(lt_last_error(), "direct")), "load %d: %s", load,
          lt_last_error());
    return g; /* NULL: this file system has no direct reads */
}

/* Every range of a few tensors that starts and ends near either end. */
static void compare(const lt_gguf *mapped, const lt_gguf *g, const char *name, uint8_t *buffer)
{
    const lt_tensor *want = lt_gguf_find_tensor(mapped, name), *t = lt_gguf_find_tensor(g, name);
    const uint64_t ends[] = {0, 1, 34, t->n_bytes / 2 | 1, t->n_bytes - 1, t->n_bytes};
    for (int i = 0; i < 6; i++)
        for (int j = i; j < 6; j++) {
            const uint8_t *bytes = NULL;
            const uint64_t n = ends[j] - ends[i];
            const int error = lt_gguf_read(g, t, ends[i], n, buffer, &bytes);
            CHECK(!error && !memcmp(bytes, (const uint8_t *)want->data + ends[i], (size_t)n), "%s: bytes %d to %d", name, (int)ends[i],
                  (int)ends[j]);
        }
}

static void test_same_bytes(uint8_t *buffer)
{
    tiny_tensor t[32];
    const int n = tiny_tensors(t, NULL);
    tiny_model(NULL);
    lt_gguf *mapped = open_for(LT_LOAD_MMAP);
    for (int way = 0; way < 3; way++) {
        lt_gguf *g = open_for(ways[way]);
        for (int i = 0; g && i < n; i++) {
            CHECK(!lt_gguf_find_tensor(g, t[i].name)->data == (way > 0), "a tensor that is read has an address");
            compare(mapped, g, t[i].name, buffer);
            lt_gguf_release(g, lt_gguf_find_tensor(g, t[i].name));
        }
        lt_gguf_close(g);
    }
    lt_gguf_close(mapped);
}

static void test_file_that_shrinks(uint8_t *buffer)
{
    for (int way = 1; way < 3; way++) {
        tiny_model(NULL);
        lt_gguf *g = open_for(ways[way]);
        if (!g)
            continue;
        const lt_tensor *last = lt_gguf_find_tensor(g, "blk.1.ffn_down.weight");
        const uint8_t *bytes;
        CHECK(!ftruncate(scratch()->fd, lseek(scratch()->fd, 0, SEEK_END) - (off_t)last->n_bytes / 2), "truncate");
        const int error = lt_gguf_read(g, last, 0, last->n_bytes, buffer, &bytes);
        CHECK(error == ENODATA && lt_gguf_fail_read(g, last, error) == LT_E_IO, "error %d", error);
        CHECK(strstr(lt_last_error(), "blk.1.ffn_down.weight") && strstr(lt_last_error(), "shorter"), "%s", lt_last_error());
        lt_gguf_close(g);
    }
}

static void test_failing_allocations(void)
{
    tiny_model(NULL);
    for (int64_t n = 1; n < 100; n++) {
        lt_gguf *g = NULL;
        lt_fail_alloc_at(n);
        const int rc = lt_gguf_open_for(&g, scratch()->path, LT_LOAD_READ);
        lt_fail_alloc_at(0);
        CHECK(rc == LT_E_NOMEM ? !g : rc == LT_OK, "allocation %d: code %d", (int)n, rc);
        lt_gguf_close(g);
        if (rc == LT_OK)
            return;
    }
}

int main(void)
{
    size_t n_bytes;
    uint8_t *buffer = lt_alloc_pages(1 << 20, 1, &n_bytes);
    test_same_bytes(buffer);
    test_file_that_shrinks(buffer);
    test_failing_allocations();
    lt_free(buffer);
    return check_report("reading");
}
