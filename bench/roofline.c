/* roofline.c - what this machine can do at the most, measured in the same run as the engine: int8 multiply-adds per second
 * and bytes read from memory per second, by one thread and by all.  Prints "name value" lines for bench/roofline.py.
 *
 * A window is a few milliseconds; all threads start it together and their rates in it are added up.  The best of many windows
 * counts, because whatever else runs on the machine can only make a window slower. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAX_THREADS = 256, N_WINDOWS = 60, MAC_ROUNDS = 400000, READ_BYTES = 16 << 20, BUFFER_BYTES = 256 << 20 };

typedef struct {
    int index, n_threads, reads; /* reads: 1 bandwidth, 0 arithmetic */
    const char *buffer;          /* this thread's part of the common one */
    size_t buffer_bytes;
    pthread_barrier_t *barrier;
    double rates[N_WINDOWS];
    uint64_t sink; /* keeps the compiler from leaving the work out */
} worker;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- int8 multiply-adds ----------------------------------------------------------------------------------------
 * Twelve accumulators hide the latency.  What the registers hold does not matter, so the loop body is written as
 * instructions: compilers put copies and spills around the same thing in C. */

// clang-format off
#define TWELVE(step) step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7) step(8) step(9) step(10) step(11)
#if defined(__x86_64__)
#define REGISTERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14"
#else
#define REGISTERS "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11"
#endif

#if defined(__AVX512VNNI__)
#define ISA "avx512vnni"
enum { MACS_PER_ROUND = 12 * 64 };
#define STEP(i) "vpdpbusd %%zmm12, %%zmm13, %%zmm" #i "\n\t"
#elif defined(__AVX2__)
#define ISA "avx2"
enum { MACS_PER_ROUND = 12 * 32 };
#define STEP(i) "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\n\t" \
                "vpmaddwd %%ymm14, %%ymm15, %%ymm14\n\t"   \
                "vpaddd %%ymm14, %%ymm" #i ", %%ymm" #i "\n\t"
#elif defined(__ARM_FEATURE_DOTPROD)
#define ISA "neon"
enum { MACS_PER_ROUND = 12 * 16 };
#define STEP(i) "sdot v" #i ".4s, v12.16b, v13.16b\n\t"
#endif
// clang-format on

#ifdef STEP
static uint64_t multiply_add(void)
{
    for (int round = 0; round < MAC_ROUNDS; round++)
        __asm__ volatile(TWELVE(STEP) : : : REGISTERS);
    return 0;
}
#else
#define ISA "plain"
enum { MACS_PER_ROUND = 64 };

static uint64_t multiply_add(void)
{
    int8_t w[64], x[64];
    int32_t sum[16] = {0};
    for (int i = 0; i < 64; i++) {
        w[i] = (int8_t)i;
        x[i] = (int8_t)(i + 1);
    }
    for (int round = 0; round < MAC_ROUNDS; round++) {
        __asm__ volatile("" : : "r"(w), "r"(x) : "memory");
        for (int i = 0; i < 64; i++)
            sum[i % 16] += (int32_t)w[i] * x[i];
    }
    return (uint64_t)sum[0] + (uint64_t)sum[15];
}
#endif

/* ---- reading -------------------------------------------------------------------------------------------------------- */

typedef uint64_t lanes __attribute__((vector_size(64)));

static uint64_t read_all(const char *bytes, size_t n_bytes)
{
    const lanes *p = (const lanes *)bytes;
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i < n_bytes / sizeof(lanes); i += 4) {
        a ^= p[i];
        b ^= p[i + 1];
        c ^= p[i + 2];
        d ^= p[i + 3];
    }
    a ^= b ^ c ^ d;
    return a[0] ^ a[7];
}

/* ---- windows -------------------------------------------------------------------------------------------------------- */

static double window_rate(worker *w, int window)
{
    size_t n_chunks = w->buffer_bytes / READ_BYTES;
    const char *chunk = w->buffer + (size_t)window % n_chunks * READ_BYTES; /* long out of every cache when its turn comes again */
    double start = now();
    w->sink ^= w->reads ? read_all(chunk, READ_BYTES) : multiply_add();
    double work = w->reads ? (double)READ_BYTES : (double)MAC_ROUNDS * MACS_PER_ROUND;
    return work / (now() - start);
}

static void *run_windows(void *argument)
{
    worker *w = argument;
    for (int window = 0; window < N_WINDOWS; window++) {
        pthread_barrier_wait(w->barrier);
        w->rates[window] = window_rate(w, window);
    }
    return NULL;
}

/* The best window's total rate, in units per second; -1 when a thread cannot be had. */
static double measure(worker *workers, int n_threads, int reads, const char *buffer, size_t bytes_each)
{
    pthread_t threads[MAX_THREADS];
    pthread_barrier_t barrier;
    if (pthread_barrier_init(&barrier, NULL, (unsigned)n_threads))
        return -1;
    for (int i = 0; i < n_threads; i++) {
        workers[i] = (worker){.index = i, .n_threads = n_threads, .reads = reads, .barrier = &barrier};
        workers[i].buffer = buffer + (size_t)i * bytes_each;
        workers[i].buffer_bytes = bytes_each;
        if (pthread_create(&threads[i], NULL, run_windows, &workers[i]))
            return -1;
    }
    for (int i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    double best = 0;
    for (int window = 0; window < N_WINDOWS; window++) {
        double total = 0;
        for (int i = 0; i < n_threads; i++)
            total += workers[i].rates[window];
        best = total > best ? total : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    int n_threads = argc > 1 ? atoi(argv[1]) : 1;
    if (n_threads < 1 || n_threads > MAX_THREADS) {
        fprintf(stderr, "roofline: threads must be 1..%d\n", MAX_THREADS);
        return 1;
    }
    size_t bytes_each =
        n_threads * (size_t)READ_BYTES > BUFFER_BYTES ? READ_BYTES : BUFFER_BYTES / (size_t)n_threads / READ_BYTES * READ_BYTES;
    size_t n_bytes = bytes_each * (size_t)n_threads;
    char *buffer = aligned_alloc(4096, n_bytes);
    worker *workers = calloc(MAX_THREADS, sizeof *workers);
    if (!buffer || !workers) {
        fprintf(stderr, "roofline: no memory for a buffer of %zu bytes\n", n_bytes);
        return 1;
    }
    for (size_t i = 0; i < n_bytes; i++)
        buffer[i] = (char)(i * 31 >> 4);
    printf("isa %s\nthreads %d\n", ISA, n_threads);
    printf("int8_1 %.4g\n", measure(workers, 1, 0, buffer, bytes_each));
    printf("int8_all %.4g\n", measure(workers, n_threads, 0, buffer, bytes_each));
    printf("read_1 %.4g\n", measure(workers, 1, 1, buffer, n_bytes));
    printf("read_all %.4g\n", measure(workers, n_threads, 1, buffer, bytes_each));
    free(buffer);
    free(workers);
    return 0;
}
