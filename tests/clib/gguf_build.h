/* gguf_build.h - writes small GGUF files for tests, byte by byte, right or wrong as the caller likes. */
#ifndef GGUF_BUILD_H
#define GGUF_BUILD_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    uint8_t bytes[1 << 16];
    size_t n;
} gguf_build;

static inline void put(gguf_build *b, const void *bytes, size_t n)
{
    if (b->n + n > sizeof b->bytes)
        exit(2); /* a test that builds more than it said */
    if (n)
        memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

static inline void put_u32(gguf_build *b, uint32_t v)
{
    put(b, &v, sizeof v);
}

static inline void put_u64(gguf_build *b, uint64_t v)
{
    put(b, &v, sizeof v);
}

static inline void put_str(gguf_build *b, const char *s)
{
    put_u64(b, strlen(s));
    put(b, s, strlen(s));
}

static inline void put_header(gguf_build *b, uint64_t n_tensors, uint64_t n_pairs)
{
    b->n = 0;
    put(b, "GGUF", 4);
    put_u32(b, 3);
    put_u64(b, n_tensors);
    put_u64(b, n_pairs);
}

/* A key and the bytes of its value, which is of GGUF type `type`. */
static inline void put_pair(gguf_build *b, const char *key, uint32_t type, const void *value, size_t n)
{
    put_str(b, key);
    put_u32(b, type);
    put(b, value, n);
}

static inline void put_pair_str(gguf_build *b, const char *key, const char *value)
{
    put_pair(b, key, 8, "", 0);
    put_str(b, value);
}

static inline void put_array(gguf_build *b, const char *key, uint32_t item_type, uint64_t n)
{
    put_pair(b, key, 9, "", 0);
    put_u32(b, item_type);
    put_u64(b, n);
}

static inline void put_tensor(gguf_build *b, const char *name, uint64_t ne0, uint64_t ne1, uint32_t type, uint64_t offset)
{
    put_str(b, name);
    put_u32(b, 2);
    put_u64(b, ne0);
    put_u64(b, ne1);
    put_u32(b, type);
    put_u64(b, offset);
}

static inline void put_data(gguf_build *b, size_t alignment, size_t n)
{
    static const uint8_t zeros[4096];
    put(b, zeros, (alignment - b->n % alignment) % alignment);
    for (size_t i = 0; i < n; i++)
        put(b, (uint8_t[]){(uint8_t)(i * 7)}, 1);
}

/* The one file that a test program writes again and again; it stays open, for closing it may wait for the disk. */
typedef struct {
    char path[256];
    int fd;
} scratch_file;

static inline const scratch_file *scratch(void)
{
    static scratch_file f;
    if (f.path[0])
        return &f;
    const char *dir = getenv("TMPDIR");
    snprintf(f.path, sizeof f.path, "%s/llamatw-test-XXXXXX", dir ? dir : "/tmp");
    f.fd = mkstemp(f.path);
    if (f.fd < 0)
        exit(2);
    return &f;
}

/* The path of a file that holds these bytes until the next call. */
static inline const char *save_bytes(const uint8_t *bytes, size_t n)
{
    const scratch_file *f = scratch();
    if (ftruncate(f->fd, (off_t)n) || pwrite(f->fd, bytes, n, 0) != (ssize_t)n)
        exit(2);
    return f->path;
}

static inline const char *save(const gguf_build *b)
{
    return save_bytes(b->bytes, b->n);
}

#endif
