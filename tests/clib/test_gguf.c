/* test_gguf.c - the GGUF reader: a good file read back, every truncation, thousands of mutants, every failing allocation.
 *
 *      test_gguf               the tests
 *      test_gguf FILE ...      opens each file and touches all that it offers: point the sanitizer build at a pile of mutants */
#include "check.h"
#include "gguf_build.h"

#include "core/memory.h"
#include "gguf/gguf.h"
#include "quant/quant.h"

enum { N_STRINGS = 200, N_RANDOM_MUTANTS = 20000 };

static size_t header_bytes; /* of sample(): what comes before the data */

static void sample(gguf_build *b)
{
    put_header(b, 3, 17);
    put_pair_str(b, "general.architecture", "llama");
    put_pair(b, "n.u8", 0, (uint8_t[]){200}, 1);
    put_pair(b, "n.i8", 1, (int8_t[]){-3}, 1);
    put_pair(b, "n.u16", 2, (uint16_t[]){65000}, 2);
    put_pair(b, "n.i16", 3, (int16_t[]){-300}, 2);
    put_pair(b, "n.u32", 4, (uint32_t[]){4000000000u}, 4);
    put_pair(b, "n.i32", 5, (int32_t[]){7}, 4);
    put_pair(b, "n.f32", 6, (float[]){1.5f}, 4);
    put_pair(b, "n.bool", 7, (uint8_t[]){1}, 1);
    put_pair(b, "n.u64", 10, (uint64_t[]){UINT64_MAX}, 8);
    put_pair(b, "n.i64", 11, (int64_t[]){-5}, 8);
    put_pair(b, "n.f64", 12, (double[]){2.5}, 8);
    put_array(b, "a.i32", 5, 3);
    put(b, (int32_t[]){1, -2, 3}, 12);
    put_array(b, "a.bool", 7, 2);
    put(b, (uint8_t[]){0, 1}, 2);
    put_array(b, "a.none", 8, 0);
    put_array(b, "a.str", 8, N_STRINGS);
    for (int i = 0; i < N_STRINGS; i++) {
        char s[24];
        snprintf(s, sizeof s, "token %d", i);
        put_str(b, s);
    }
    put_pair(b, "general.alignment", 4, (uint32_t[]){64}, 4);
    put_tensor(b, "token_embd.weight", 32, 4, LT_Q4_0, 0);
    put_tensor(b, "output_norm.weight", 8, 1, LT_F32, 128);
    put_tensor(b, "last", 5, 1, LT_F16, 192);
    header_bytes = b->n;
    put_data(b, 64, 202);
}

static void check_scalars(const lt_gguf *g)
{
    static const struct {
        const char *key;
        int64_t i;
        double f;
    } want[] = {{"n.u8", 200, 0},  {"n.i8", -3, 0},  {"n.u16", 65000, 0}, {"n.i16", -300, 0}, {"n.u32", 4000000000, 0}, {"n.i32", 7, 0},
                {"n.f32", 0, 1.5}, {"n.bool", 1, 0}, {"n.u64", -1, 0},    {"n.i64", -5, 0},   {"n.f64", 0, 2.5}};
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        lt_meta m = {0};
        int64_t i = lt_gguf_find(g, want[k].key);
        CHECK(lt_gguf_meta(g, i, &m) == LT_OK && m.i == want[k].i && m.f == want[k].f, "%s: %lld %g", want[k].key, (long long)m.i, m.f);
        CHECK(m.key_len == strlen(want[k].key) && !memcmp(m.key, want[k].key, (size_t)m.key_len), "%s", want[k].key);
    }
    CHECK(lt_gguf_find(g, "n.") == -1 && lt_gguf_find(g, "") == -1, "absent keys");
}

static void check_getters(const lt_gguf *g)
{
    uint32_t u = 9;
    float f = 9;
    bool b = false;
    const char *s = NULL;
    uint64_t n = 9;
    const void *items = &n;
    CHECK(lt_gguf_get_u32(g, "n.u32", true, &u) == LT_OK && u == 4000000000u, "%u", u);
    CHECK(lt_gguf_get_u32(g, "n.u8", true, &u) == LT_OK && u == 200, "%u", u);
    CHECK(lt_gguf_get_u32(g, "absent", false, &u) == LT_OK && u == 200, "an absent key leaves the value alone: %u", u);
    CHECK(lt_gguf_get_f32(g, "n.f32", true, &f) == LT_OK && f == 1.5f, "%g", f);
    CHECK(lt_gguf_get_bool(g, "n.bool", true, &b) == LT_OK && b, "bool");
    CHECK(lt_gguf_get_str(g, "general.architecture", true, &s, &n) == LT_OK && n == 5 && !memcmp(s, "llama", 5), "str");
    CHECK(lt_gguf_get_array(g, "a.i32", true, 5, &items, &n) == LT_OK && n == 3 && !memcmp(items, (int32_t[]){1, -2, 3}, 12), "array");
    CHECK(lt_gguf_get_array(g, "absent", false, 5, &items, &n) == LT_OK && n == 3 && !items, "absent array");
}

#define CHECK_FAILS(call, code, words)                                                                                                     \
    CHECK((call) == (code) && strstr(lt_last_error(), words), "wanted \"%s\", got: %s", words, lt_last_error())

static void check_getter_errors(const lt_gguf *g)
{
    uint32_t u;
    float f;
    bool b;
    const char *s;
    uint64_t n;
    const void *items;
    lt_gguf_strings it;
    lt_meta m;
    CHECK_FAILS(lt_gguf_get_u32(g, "general.architecture", true, &u), LT_E_FORMAT, "key general.architecture must be u32, is str");
    CHECK_FAILS(lt_gguf_get_u32(g, "a.str", false, &u), LT_E_FORMAT, "key a.str must be u32, is array of str");
    CHECK_FAILS(lt_gguf_get_u32(g, "n.bool", true, &u), LT_E_FORMAT, "must be u32, is bool");
    CHECK_FAILS(lt_gguf_get_u32(g, "n.i64", true, &u), LT_E_FORMAT, "key n.i64 is -5");
    CHECK_FAILS(lt_gguf_get_u32(g, "n.u64", true, &u), LT_E_FORMAT, "18446744073709551615");
    CHECK_FAILS(lt_gguf_get_u32(g, "absent", true, &u), LT_E_FORMAT, "required key absent is missing");
    CHECK_FAILS(lt_gguf_get_f32(g, "n.f64", true, &f), LT_E_FORMAT, "must be f32, is f64");
    CHECK_FAILS(lt_gguf_get_bool(g, "n.u8", true, &b), LT_E_FORMAT, "must be bool, is u8");
    CHECK_FAILS(lt_gguf_get_str(g, "n.u8", true, &s, &n), LT_E_FORMAT, "must be str, is u8");
    CHECK_FAILS(lt_gguf_get_array(g, "a.i32", true, 6, &items, &n), LT_E_FORMAT, "must be array of f32, is array of i32");
    CHECK_FAILS(lt_gguf_get_array(g, "a.str", true, 8, &items, &n), LT_E_ARG, "item type 8");
    CHECK_FAILS(lt_gguf_get_strings(g, "a.i32", true, &it), LT_E_FORMAT, "must be array of str");
    CHECK_FAILS(lt_gguf_meta(g, 17, &m), LT_E_ARG, "key number 17 of 17");
    CHECK_FAILS(lt_gguf_meta(g, -1, &m), LT_E_ARG, "key number -1");
    CHECK_FAILS(lt_gguf_meta_item(g, 0, 0, &m), LT_E_ARG, "not an array");
    CHECK_FAILS(lt_gguf_meta_item(g, lt_gguf_find(g, "a.str"), N_STRINGS, &m), LT_E_ARG, "item 200 of 200");
    CHECK_FAILS(lt_gguf_n_meta(NULL), LT_E_ARG, "NULL");
    CHECK_FAILS(lt_gguf_n_tensors(NULL), LT_E_ARG, "NULL");
}

static void check_strings(const lt_gguf *g)
{
    lt_gguf_strings it;
    CHECK(lt_gguf_get_strings(g, "a.str", true, &it) == LT_OK && it.left == N_STRINGS, "%s", lt_last_error());
    int64_t key = lt_gguf_find(g, "a.str");
    const char *s;
    uint64_t len, i = 0;
    for (; lt_gguf_next_string(&it, &s, &len); i++) {
        char want[24];
        snprintf(want, sizeof want, "token %d", (int)i);
        lt_meta m = {0};
        CHECK(len == strlen(want) && !memcmp(s, want, (size_t)len), "string %d", (int)i);
        CHECK(lt_gguf_meta_item(g, key, i, &m) == LT_OK && m.str == s && m.str_len == len && m.type == 8, "item %d", (int)i);
    }
    CHECK(i == N_STRINGS, "%d strings", (int)i);
    CHECK(lt_gguf_get_strings(g, "a.none", true, &it) == LT_OK && !lt_gguf_next_string(&it, &s, &len), "an empty array");
    CHECK(lt_gguf_get_strings(g, "absent", false, &it) == LT_OK && it.left == 0, "an absent array");
}

static void check_tensors(const lt_gguf *g, const gguf_build *b)
{
    size_t data = (header_bytes + 63) / 64 * 64;
    const lt_tensor *t = lt_gguf_find_tensor(g, "last");
    CHECK(t && t->n_bytes == 10 && t->ne[0] == 5 && t->ne[3] == 1 && t->type == LT_F16 && !strcmp(t->name, "last"), "tensor last");
    CHECK(t && !memcmp(t->data, b->bytes + data + 192, 10), "its data");
    t = lt_gguf_find_tensor(g, "token_embd.weight");
    CHECK(t && t->n_bytes == 4 * 18 && !memcmp(t->data, b->bytes + data, 72), "tensor token_embd.weight");
    CHECK(!lt_gguf_find_tensor(g, "las") && !lt_gguf_find_tensor(g, ""), "absent tensors");
    lt_tensor_info info;
    CHECK(lt_gguf_tensor(g, 1, &info) == LT_OK && info.offset == 128 && info.n_bytes == 32 && info.n_dims == 2 && info.file == 0, "info");
    CHECK_FAILS(lt_gguf_tensor(g, 3, &info), LT_E_ARG, "tensor number 3 of 3");
    lt_gguf_release(g, t);
    CHECK(!memcmp(t->data, b->bytes + data, 72), "released data comes back");
}

static void test_sample(const gguf_build *b)
{
    lt_gguf *g = NULL;
    CHECK(lt_gguf_open(&g, save(b)) == LT_OK, "%s", lt_last_error());
    if (!g)
        return;
    CHECK(lt_gguf_version(g) == 3 && lt_gguf_n_meta(g) == 17 && lt_gguf_n_tensors(g) == 3, "counts");
    CHECK(!strcmp(lt_gguf_path(g), scratch()->path), "path");
    check_scalars(g);
    check_getters(g);
    check_getter_errors(g);
    check_strings(g);
    check_tensors(g, b);
    lt_gguf_close(g);
    lt_gguf_close(NULL);
    CHECK(lt_gguf_open(NULL, "x") == LT_E_ARG && lt_gguf_open(&g, NULL) == LT_E_ARG, "NULL arguments");
}

/* Reads each byte that the handle offers; returns their sum so that nothing is optimised away. */
static unsigned touch_bytes(const void *bytes, uint64_t n)
{
    unsigned sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += ((const uint8_t *)bytes)[i];
    return sum;
}

static unsigned touch_item(const lt_meta *m)
{
    return m->type == 8 ? touch_bytes(m->str, m->str_len) : (unsigned)m->i;
}

static unsigned touch(const lt_gguf *g)
{
    unsigned sum = 0;
    lt_meta m = {0};
    lt_tensor_info t;
    for (int64_t i = 0; i < lt_gguf_n_meta(g); i++) {
        lt_gguf_meta(g, i, &m);
        sum += touch_bytes(m.key, m.key_len) + touch_item(&m);
        for (uint64_t k = 0, n = m.n; m.type == 9 && k < n; k++) {
            lt_meta item = {0};
            lt_gguf_meta_item(g, i, k, &item);
            sum += touch_item(&item);
        }
    }
    for (int64_t i = 0; i < lt_gguf_n_tensors(g); i++) {
        lt_gguf_tensor(g, i, &t);
        const lt_tensor *found = lt_gguf_find_tensor(g, t.name);
        sum += touch_bytes(found->data, found->n_bytes);
    }
    return sum;
}

/* Opens, and either reads everything or wants a reason.  1: opened. */
static int try_bytes(const uint8_t *bytes, size_t n)
{
    lt_gguf *g = NULL;
    int rc = lt_gguf_open(&g, save_bytes(bytes, n));
    CHECK((rc == LT_OK) == (g != NULL) && (rc == LT_OK || lt_last_error()[0]), "rc %d", rc);
    if (g)
        touch(g);
    lt_gguf_close(g);
    return rc == LT_OK;
}

static void test_truncations(const gguf_build *b)
{
    for (size_t n = 0; n < b->n; n++)
        CHECK(!try_bytes(b->bytes, n), "loads with %zu of %zu bytes", n, b->n);
    CHECK(try_bytes(b->bytes, b->n), "%s", lt_last_error());
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void mutate(gguf_build *b, uint64_t *random)
{
    static const uint64_t extremes[] = {0,        1,          3,          13,         63,         64,         255,       1 << 16,
                                        1u << 31, UINT32_MAX, 1ull << 40, 1ull << 61, 1ull << 63, UINT64_MAX, INT64_MAX, UINT64_MAX - 15};
    for (uint64_t k = next_random(random) % 3 + 1; k > 0; k--) {
        size_t at = next_random(random) % header_bytes;
        uint64_t r = next_random(random), v = extremes[r / 16 % (sizeof extremes / sizeof *extremes)];
        if (r % 4 == 0)
            b->bytes[at] ^= (uint8_t)(1u << r / 4 % 8);
        else if (r % 4 == 1)
            b->bytes[at] = (uint8_t)(r >> 8);
        else
            memcpy(b->bytes + at, &v, r % 4 == 2 ? 4 : 8);
    }
}

static void test_mutants(const gguf_build *b)
{
    static gguf_build mutant;
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < N_RANDOM_MUTANTS; i++) {
        mutant = *b;
        mutate(&mutant, &random);
        try_bytes(mutant.bytes, mutant.n);
    }
}

static void test_failing_allocations(const char *path)
{
    lt_gguf *g = NULL;
    int rc = LT_E_NOMEM, n = 0;
    while (rc == LT_E_NOMEM && n < 1000) {
        lt_fail_alloc_at(++n);
        rc = lt_gguf_open(&g, path);
        CHECK(rc == LT_OK || (rc == LT_E_NOMEM && !g && strstr(lt_last_error(), "no memory")), "allocation %d: %d %s", n, rc,
              lt_last_error());
    }
    lt_fail_alloc_at(0);
    CHECK(rc == LT_OK && n > 5, "%d allocations", n - 1);
    lt_gguf_close(g);
}

/* File `no` of two, with one tensor. */
static void save_part(const char *path, uint16_t no)
{
    static gguf_build b;
    put_header(&b, 1, 3);
    put_pair(&b, "split.no", 2, &no, 2);
    put_pair(&b, "split.count", 2, (uint16_t[]){2}, 2);
    put_pair(&b, "split.tensors.count", 5, (int32_t[]){2}, 4);
    put_tensor(&b, no ? "second" : "first", 8, 1, LT_F32, 0);
    put_data(&b, 32, 32);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b.bytes, 1, b.n, f) != b.n || fclose(f))
        exit(2);
}

static void test_split(void)
{
    char paths[2][300];
    for (uint16_t no = 0; no < 2; no++) {
        snprintf(paths[no], sizeof paths[no], "%s-%05d-of-00002.gguf", scratch()->path, no + 1);
        save_part(paths[no], no);
    }
    test_failing_allocations(paths[0]);
    lt_gguf *g = NULL;
    CHECK(lt_gguf_open(&g, paths[0]) == LT_OK && lt_gguf_n_tensors(g) == 2 && touch(g) > 0, "%s", lt_last_error());
    lt_gguf_close(g);
    unlink(paths[1]);
    CHECK_FAILS(lt_gguf_open(&g, paths[0]), LT_E_IO, "1 of them missing: -00002-of-00002.gguf");
    unlink(paths[0]);
}

static int open_files(int n, char **paths)
{
    int n_opened = 0;
    for (int i = 0; i < n; i++) {
        lt_gguf *g = NULL;
        int rc = lt_gguf_open(&g, paths[i]);
        printf("%s: %s\n", paths[i], rc == LT_OK ? "ok" : lt_last_error());
        n_opened += rc == LT_OK && touch(g) + 1 > 0;
        lt_gguf_close(g);
    }
    printf("%d of %d opened\n", n_opened, n);
    return 0;
}

int main(int argc, char **argv)
{
    static gguf_build b;
    if (argc > 1)
        return open_files(argc - 1, argv + 1);
    sample(&b);
    test_sample(&b);
    test_truncations(&b);
    test_mutants(&b);
    test_failing_allocations(save(&b));
    test_split();
    unlink(scratch()->path);
    return check_report("test_gguf");
}
