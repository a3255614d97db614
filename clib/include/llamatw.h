/* llamatw.h - the whole boundary of the inference engine.
 *
 * Mental model.  An lt_gguf is an opened, fully checked model file.  An lt_vocab turns text into token ids and back; it is
 * immutable and safe from any thread.  An lt_engine is a loaded model with one pool of paged KV cache; exactly one thread
 * drives it.  A sequence is a history of token ids of which the first n_computed are in the KV cache; lt_step lets
 * n_computed catch up with the history and, where it does, samples one more token onto the end.
 *
 *      history   t0 t1 t2 ... tp-1 | g0 g1 ...          prompt | generated
 *      computed  ^^^^^^^^^^^^                            advance = how much further this step goes
 *
 * Rules.  Every call that can fail returns LT_OK or a negative LT_E_* and leaves the reason, in words, in lt_last_error()
 * of the calling thread.  Outputs are written only on success.  A buffer is the caller's (cap in, need out: a call with too
 * small a cap returns LT_E_CAP and sets *need) or, where said, valid until the next call on the same handle.  Nothing here
 * exits, aborts or prints.  NULL handles are errors (LT_E_ARG), except in the close functions.
 * Functions marked ANY THREAD may run beside lt_step. */
#ifndef LLAMATW_H
#define LLAMATW_H

#include <stddef.h>
#include <stdint.h>

#define LT_ABI_VERSION 1
#define LT_API __attribute__((visibility("default")))

enum {
    LT_OK = 0,
    LT_E_ARG = -1,         /* the caller's mistake: NULL, out of range, closed sequence */
    LT_E_NOMEM = -2,       /* an allocation failed */
    LT_E_IO = -3,          /* the operating system said no */
    LT_E_FORMAT = -4,      /* the file is not what it says it is */
    LT_E_UNSUPPORTED = -5, /* a valid file or wish that this build cannot serve */
    LT_E_KV_FULL = -6,     /* not enough free KV pages: the step ran nothing */
    LT_E_CAP = -7,         /* buffer too small: *need says how much */
    LT_E_LIMIT = -8        /* too many sequences, tokens in a step, tokens in a sequence */
};

LT_API int32_t lt_abi_version(void);                 /* ANY THREAD */
LT_API const char *lt_last_error(void);              /* ANY THREAD: this thread's last failure; never NULL */
LT_API int64_t lt_sizeof(const char *struct_name);   /* ANY THREAD: "lt_row" -> sizeof, -1 when unknown */
LT_API const char *lt_cpu_name(void);                /* ANY THREAD: kernel set in use, "avx512bf16" "avx512vnni" "avx2" "neon" "ref" */
LT_API int32_t lt_thread_count(void);                /* ANY THREAD: what n_threads = 0 stands for, unless memory is isolated on a node */

/* ---- GGUF files ------------------------------------------------------------------------------------------------- */

typedef struct lt_gguf lt_gguf;

/* One metadata value, or one element of an array value.  Strings are not NUL-terminated and live as long as the file. */
typedef struct {
    const char *key;     /* NULL for array elements */
    const char *str;     /* type 8 */
    uint64_t key_len, str_len;
    uint64_t n;          /* type 9: number of elements */
    int64_t i;           /* integer types and bool (u64 above INT64_MAX as its bit pattern) */
    double f;            /* float types */
    int32_t type;        /* GGUF value type: 0 u8, 1 i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 bool, 8 str, 9 array, 10 u64, 11 i64, 12 f64 */
    int32_t item_type;   /* type 9: element type */
} lt_meta;

typedef struct {
    const char *name;
    uint64_t name_len;
    uint64_t ne[4];      /* elements per dimension, fastest first; 1 beyond n_dims */
    uint64_t offset;     /* bytes from the start of the data section of its file */
    uint64_t n_bytes;
    int32_t type;        /* ggml type number */
    int32_t n_dims;
    int32_t file;        /* index of the split file that holds it */
    int32_t reserved;
} lt_tensor_info;

LT_API int lt_gguf_open(lt_gguf **out, const char *path);          /* opens the other files of a split model too */
LT_API void lt_gguf_close(lt_gguf *g);
LT_API int32_t lt_gguf_version(const lt_gguf *g);
LT_API int64_t lt_gguf_n_meta(const lt_gguf *g);
LT_API int lt_gguf_meta(const lt_gguf *g, int64_t i, lt_meta *out);
LT_API int lt_gguf_meta_item(const lt_gguf *g, int64_t i, uint64_t item, lt_meta *out);   /* element of an array value */
LT_API int64_t lt_gguf_find(const lt_gguf *g, const char *key);    /* index, -1 when absent */
LT_API int64_t lt_gguf_n_tensors(const lt_gguf *g);
LT_API int lt_gguf_tensor(const lt_gguf *g, int64_t i, lt_tensor_info *out);

LT_API const char *lt_type_name(int32_t type);                     /* ANY THREAD: "Q4_K"; NULL when unknown */
/* ANY THREAD: n_values elements of ggml type `type` at src (n_bytes of them) to float32; n_values a multiple of the block. */
LT_API int lt_dequantize(int32_t type, const void *src, uint64_t n_bytes, float *dst, uint64_t n_values);

/* ---- vocabulary --------------------------------------------------------------------------------------------------- */

typedef struct lt_vocab lt_vocab;

enum {
    LT_TOK_ADD_SPECIAL = 1,   /* add BOS / EOS / separator as the model's metadata asks */
    LT_TOK_PARSE_SPECIAL = 2  /* text such as "<|im_end|>" becomes the control token */
};
enum { LT_DETOK_SPECIAL = 1 };  /* show control tokens as their text instead of nothing */

typedef struct {
    int32_t n_tokens;
    int32_t bos, eos, eot, unk, pad;   /* -1 when the model has none */
    int32_t add_bos, add_eos;          /* 0 or 1 */
    int32_t add_space_prefix;
    int32_t kind;                      /* 1 SPM, 2 BPE, 3 WordPiece, 4 unigram, 5 RWKV */
    int32_t sep, add_sep;              /* the separator behind a text, -1: none; whether it is added */
} lt_vocab_info;

LT_API int lt_vocab_open(lt_vocab **out, const lt_gguf *g);        /* keeps nothing of g */
LT_API void lt_vocab_close(lt_vocab *v);
LT_API int lt_vocab_describe(const lt_vocab *v, lt_vocab_info *out);
LT_API int lt_tokenize(const lt_vocab *v, const char *utf8, size_t n_bytes, uint32_t flags, int32_t *out, size_t cap, size_t *need); /* ANY THREAD */
LT_API int lt_detokenize(const lt_vocab *v, const int32_t *ids, size_t n, uint32_t flags, char *out, size_t cap, size_t *need);      /* ANY THREAD; raw bytes */
/* What each token shows in the middle of a text, one behind the other; sizes: [n_tokens]. */
LT_API int lt_vocab_pieces(const lt_vocab *v, char *out, size_t cap, uint32_t *sizes, size_t *need); /* ANY THREAD */
LT_API int32_t lt_token_is_eog(const lt_vocab *v, int32_t id);     /* ANY THREAD: ends generation: 1, 0; -1 when out of range */

/* ---- grammars -----------------------------------------------------------------------------------------------------
 *
 * An lt_grammar is a compiled GBNF text over one vocabulary, shared by any number of sequences.  An lt_gstate is a place in
 * a text that the grammar describes: small, copied in no time, so guesses can be followed and thrown away.
 *
 *      lt_grammar_open -> lt_gstate_open, one for each sequence
 *      each step       lt_gstate_mask into the row's mask, sample, lt_gstate_advance by the sampled token
 *      guesses         lt_gstate_copy into a spare state; then mask, advance by the guess, mask, advance ... for lt_row.draft;
 *                      a guess that advance refuses (0) needs no computing, nor do those after it
 *      forced text     lt_gstate_forced gives bytes that must follow: tokenized, they are guesses that are seldom wrong;
 *                      where a mask allows one token only, that one is certain
 *
 * Advance takes every token that the mask allows and no other; both depend on the tokens taken so far alone, not on what
 * other sequences do.  Several masks can be joined by AND.  No token allowed at all, or LT_E_LIMIT (the grammar is so
 * ambiguous here that following it would cost too much): end that sequence with an error; never sample without the mask.
 * ANY THREAD for all of it: calls over one grammar wait for each other; a state is to be used by one thread at a time.
 * A grammar lives until it and all states over it are closed, and keeps the vocabulary alive. */

typedef struct lt_grammar lt_grammar;
typedef struct lt_gstate lt_gstate;

enum { LT_GRAMMAR_AFTER_TRIGGER = 1 };  /* the grammar describes what follows the trigger; else what begins with it */

/* A lazy grammar waits: until one of the words has been read, or one of the tokens has come, everything is allowed. */
typedef struct {
    uint32_t struct_size;
    uint32_t flags;            /* LT_GRAMMAR_* */
    const char *root;          /* the rule to begin with; NULL: "root" */
    const char *const *words;  /* NUL-terminated, not empty */
    const int32_t *tokens;
    uint32_t n_words, n_tokens;   /* both 0: it begins at once */
} lt_grammar_opts;

enum {
    LT_GSTATE_COMPLETE = 1,  /* the text may end here: the mask allows the tokens that end generation */
    LT_GSTATE_WAITING = 2    /* for a trigger */
};

/* opts: NULL for the defaults.  LT_E_FORMAT: the text is no grammar; the sentence says where and why.  LT_E_LIMIT: it is too large.
 * The first grammar over a vocabulary takes some 20 to 200 ms more, for a tree of the vocabulary's pieces. */
LT_API int lt_grammar_open(lt_grammar **out, const lt_vocab *v, const char *text, size_t n_bytes, const lt_grammar_opts *opts);
LT_API void lt_grammar_close(lt_grammar *g);
LT_API int lt_gstate_open(lt_gstate **out, lt_grammar *g);              /* at the beginning */
LT_API int lt_gstate_fork(lt_gstate **out, const lt_gstate *s);
LT_API int lt_gstate_copy(lt_gstate *to, const lt_gstate *from);        /* of the same grammar; allocates nothing */
LT_API void lt_gstate_close(lt_gstate *s);
LT_API int lt_gstate_advance(lt_gstate *s, int32_t token);              /* 1: taken; 0: refused, s is as before */
LT_API int lt_gstate_mask(lt_gstate *s, uint32_t *words, int32_t n_words, int32_t *n_allowed); /* bits of lt_row.mask; words beyond the vocabulary become 0 */
LT_API int32_t lt_gstate_flags(const lt_gstate *s);                     /* LT_GSTATE_*, or negative */
/* The bytes, at most cap, that must follow whatever is sampled; *n is 0 where several may.  Not to be taken as the tokens
 * that will be sampled: the same bytes may come in several cuts. */
LT_API int lt_gstate_forced(lt_gstate *s, char *out, size_t cap, size_t *n);

/* ---- engine ------------------------------------------------------------------------------------------------------- */

typedef struct lt_engine lt_engine;

enum {                 /* elements of the KV cache */
    LT_KV_F32 = 0,
    LT_KV_F16 = 1,
    LT_KV_BF16 = 2,
    LT_KV_I16 = 3,     /* 16-bit integers, a float scale per 64 values of a head */
    LT_KV_Q8_0 = 4     /* 8-bit integers, a half scale per 32 values */
};

enum { LT_OPEN_MLOCK = 1 };  /* weights, KV cache and scratch stay in physical memory: the system keeps to that, or opening fails */

enum {                 /* how tensors come out of the file; the bits are the same */
    LT_LOAD_MMAP = 0,
    LT_LOAD_READ = 1,  /* read piece by piece; only the header is mapped */
    LT_LOAD_DIRECT = 2 /* read past the page cache */
};

enum {                 /* on a machine of several nodes; with one node, nothing is done */
    LT_NUMA_NONE = 0,
    LT_NUMA_DISTRIBUTE = 1, /* threads go round the nodes, memory is interleaved over them */
    LT_NUMA_ISOLATE = 2,    /* all threads, and the default of their number, on the node where lt_engine_open runs; memory there while it lasts */
    LT_NUMA_NUMACTL = 3     /* processors and memory as the process was given them: what numactl(8) has set */
};  /* With 1 and 2 the thread that opens, which is to be the one that drives, is bound as well until the engine is closed. */

/* A metadata value instead of the file's, or of a key that the file lacks. */
typedef struct {
    const char *key;           /* at most 127 bytes, as str */
    const char *str;           /* type 8 */
    int64_t i;                 /* types 7 and 11 */
    double f;                  /* type 6 */
    int32_t type;              /* 6 f32, 7 bool, 8 str, 11 any integer: of the kind that the file has there, else LT_E_ARG */
    int32_t reserved;
} lt_override;

typedef struct {
    uint32_t struct_size;
    int32_t n_ctx;             /* tokens that one sequence may have; 0: the model's training context.  The KV pool, shared by all, holds n_full times as many ... */
    int32_t n_seqs;            /* sequences open at once, 1..257: 256 requests and a guest */
    int32_t n_batch;           /* tokens in one step, 1..8192 */
    int32_t n_threads;         /* threads for steps of few tokens, 1..256; 0: one per core that this thread may use, within the cgroup's quota */
    int32_t n_threads_batch;   /* threads for steps of many tokens; 0: as n_threads */
    int32_t k_type, v_type;    /* LT_KV_* of keys and of values; what a backend does not have is LT_E_UNSUPPORTED */
    uint32_t flags;            /* LT_OPEN_* */
    int32_t load;              /* LT_LOAD_* */
    int32_t numa;              /* LT_NUMA_* */
    int32_t group_n, group_w;  /* self-extend: whenever group_w tokens have been computed since the last time, their positions are divided by
                                * group_n before the next is.  1 and 0: off.  group_w is a multiple of group_n; models some of whose
                                * layers see a window only are LT_E_UNSUPPORTED */
    int64_t cache_bytes;       /* ... and what fits into this beside */
    const lt_override *overrides;  /* the last one of a key counts; one that the file lacks and nothing reads is LT_E_ARG */
    int32_t n_overrides;
    int32_t n_full;            /* contexts of n_ctx that the KV pool holds at once, 1..n_seqs */
    int32_t *progress;         /* NULL or the caller's: 0..1000 while lt_engine_open runs; set it negative to cancel the load */
} lt_engine_opts;

typedef struct {
    int64_t n_params, weight_bytes;
    int64_t kv_bytes, scratch_bytes; /* kv: pages, and the states of recurrent layers */
    int64_t page_bytes;        /* of one page of the KV cache, all layers: what lt_seq_read_page gives */
    int64_t state_bytes;       /* of a sequence's recurrent layers; 0: the model has none.  With them, guesses and saved histories are
                                * LT_E_UNSUPPORTED */
    int32_t n_ctx, n_ctx_train, n_vocab, n_embd, n_layer;
    int32_t n_head, n_head_kv; /* of the layers that have most */
    int32_t n_seqs, n_batch, n_pages, page_tokens;
    int32_t n_threads, n_threads_batch;
    int32_t n_nodes;           /* NUMA nodes with processors that may be used */
    int32_t n_tensors_unused;  /* in the file for another use of the model (classification); any other is refused */
    int32_t can_shift;         /* 0: lt_seq_shift and self-extend are LT_E_UNSUPPORTED (recurrent layers, learned positions, keys scaled after rotation) */
    char arch[32];
} lt_engine_info;

typedef struct {
    int64_t n_steps;           /* steps that ran */
    int64_t tokens_computed;   /* tokens that went through the model */
    int64_t tokens_cached;     /* prompt tokens that the prefix tree supplied */
    int64_t step_ns, model_ns; /* nanoseconds in lt_step; of those, in layers and output head.  The rest is choosing tokens and keeping books */
    int32_t pages_free;        /* never used or evicted */
    int32_t pages_cached;      /* held by the prefix tree alone: can be evicted */
    int32_t pages_used;        /* held by open sequences */
    int32_t seqs_open;
} lt_engine_stats;

enum {
    LT_SAMPLE_IGNORE_EOS = 1,    /* what ends generation is not sampled */
    LT_SAMPLE_NO_CACHE = 2,      /* compute the whole prompt, take nothing from the prefix tree */
    LT_SAMPLE_SPARE_NEWLINE = 4, /* the penalties leave newlines alone */
    LT_SAMPLE_RESUME = 8,        /* .state is given */
    LT_SAMPLE_POST_PROBS = 16,   /* lt_out.chances of a greedy choice: that one alone */
    LT_SAMPLE_SCORE = 32,        /* lt_out.scores: what the model thought of the history's own tokens, as they are computed */
    LT_SAMPLE_NO_LOGPROB = 64    /* without n_probs or scores lt_out.logprob is 0, which saves a pass over the vocabulary */
};

enum { /* of lt_sampling.chain.  Each but the penalties sees what the one before it left, with its probabilities */
    LT_SAMPLER_PENALTIES = 0,
    LT_SAMPLER_DRY = 1,
    LT_SAMPLER_TOP_N_SIGMA = 2,
    LT_SAMPLER_TOP_K = 3,
    LT_SAMPLER_TFS_Z = 4,
    LT_SAMPLER_TYPICAL_P = 5,
    LT_SAMPLER_TOP_P = 6,
    LT_SAMPLER_MIN_P = 7,
    LT_SAMPLER_XTC = 8,
    LT_SAMPLER_TEMPERATURE = 9,
    LT_SAMPLER_INFILL = 10,
    LT_SAMPLER_MIROSTAT_1 = 11, /* this and the next two: last in the chain only */
    LT_SAMPLER_MIROSTAT_2 = 12,
    LT_SAMPLER_ADAPTIVE_P = 13,
    LT_SAMPLER_COUNT = 14
};

enum { LT_MAX_CHAIN = 16, LT_MAX_BIASES = 1024, LT_MAX_BREAKER_IDS = 1 << 16, LT_MAX_PENALTY_PROMPT = 1 << 16, LT_MAX_PROBS = 100 };

typedef struct {
    int32_t id;
    float bias;                /* added to the raw logit; -INFINITY: the id is not sampled */
} lt_bias;

/* The lists are the caller's; lt_seq_open copies them. */
typedef struct {
    uint32_t struct_size;
    uint32_t flags;            /* LT_SAMPLE_* */
    uint64_t seed;             /* RNG key; the draw for position p depends on (seed, p) alone */
    float temperature;         /* <= 0: greedy */
    float dynatemp_range;      /* > 0: the temperature lies within so much of it, by the entropy */
    float dynatemp_exponent;   /* >= 0 */
    float top_p, min_p;        /* >= 1 off; <= 0 off */
    float tfs_z, typical_p;    /* >= 1 off */
    float top_n_sigma;         /* <= 0 off */
    float xtc_probability, xtc_threshold;  /* <= 0 off; > 0.5 off */
    float repeat_penalty;      /* 1: off */
    float presence_penalty, frequency_penalty;   /* 0: off */
    float dry_multiplier, dry_base;        /* 0: off; >= 0 */
    float mirostat_tau, mirostat_eta;      /* bits; >= 0 */
    float adaptive_target, adaptive_decay; /* < 0: off; 0 .. 0.99 */
    float state[2];            /* LT_SAMPLE_RESUME: that of the lt_out whose token is the history's last */
    int32_t top_k;             /* <= 0: off */
    int32_t min_keep;          /* top-k, tfs-z, typical, top-p, min-p and XTC leave so many, if there are */
    int32_t repeat_last_n;     /* window of the penalties, prompt and output; 0 off; -1 the whole history */
    int32_t dry_allowed_length, dry_penalty_last_n;  /* >= 0; as repeat_last_n */
    int32_t n_prompt;          /* so many ids of the history are replaced by penalty_prompt, in the penalties */
    int32_t n_probs;           /* so many alternatives are told of each token, 0..LT_MAX_PROBS; they change nothing in the choice */
    int32_t n_chain, n_bias, n_breakers, n_penalty_prompt;
    const lt_bias *bias;           /* no id twice */
    const int32_t *breakers;       /* DRY: sequences of ids, one behind the other, in ascending order of their first ids */
    const int32_t *breaker_ends;   /* [n_breakers]: where in breakers each one ends */
    const int32_t *penalty_prompt;
    uint8_t chain[LT_MAX_CHAIN];   /* LT_SAMPLER_*, none twice, first to last */
} lt_sampling;

typedef struct {
    int32_t seq;
    int32_t advance;           /* tokens of the history to compute now, >= 1; at most lt_seq_room */
    int32_t n_draft;           /* guesses at the tokens after the history that may be computed along, 0..LT_MAX_DRAFT; 0 where samplers or layers have a state */
    int32_t reserved;
    const int32_t *draft;      /* NULL: they are looked up, at most n_draft of them, in rows without mask only.  Or the caller's [n_draft] */
    const uint32_t *mask;      /* NULL, or one bit per token: 1 = may be sampled; ceil(n_vocab/32) words, and as many for each of draft:
                                * what may be sampled after it */
    float *logits;             /* NULL, or the caller's [advance, n_vocab]: raw logits after each token advanced over */
} lt_row;

enum {
    LT_OUT_TOKEN = 1,     /* a token was sampled: .token is valid and now stands at the end of the history */
    LT_OUT_EOG = 2,       /* ... and it ends generation */
    LT_OUT_FULL = 4,      /* the history now fills the context: one more token may be sampled, but not computed */
    LT_OUT_PARTIAL = 8,   /* bytes of an unfinished UTF-8 character are held back */
    LT_OUT_NAN = 16       /* no logit to sample from, or for a score (NaN, +inf, or none that the mask allows): the sequence must be closed */
};

enum { LT_MAX_DRAFT = 15 };

typedef struct {
    int32_t token;
    float value;
} lt_choice;

typedef struct {
    int32_t seq;
    int32_t flags;
    int32_t token;        /* -1 unless LT_OUT_TOKEN */
    float logprob;        /* of token under the raw logits (before penalties and filters), natural log */
    uint32_t text_off, text_len;  /* valid UTF-8 that this token completed, in lt_result.text; length 0 for EOG */
    int32_t n_drafted;    /* guesses that were computed along with this one's row, right or wrong */
    float state[2];       /* of the samplers behind this token: lt_sampling.state of a sequence that goes on from here */
    float prob;           /* of token: its chance of being drawn, after all samplers */
    int32_t n_top, n_chances; /* at most lt_sampling.n_probs */
    const lt_choice *top;     /* the best ids under the raw logits, with logarithms of their probabilities there */
    const lt_choice *chances; /* the likeliest to be drawn, with their chances above 0.  Of a greedy choice: softmax of what it was made from */
    const lt_choice *scores;  /* LT_SAMPLE_SCORE, in a row's first: for each token of the history that follows one advanced over, 1 + n_probs of them:
                               * itself, with the logarithm of its probability under the raw logits, and the best there, as top; -1 where there are fewer */
    int32_t n_scores;         /* of them all */
    int32_t reserved;
} lt_out;

typedef struct {
    const lt_out *out;    /* n_out of them in row order: one per row, and one more for each right guess; valid until the next lt_step, with its lists */
    const char *text;     /* bytes of all rows; valid until the next lt_step */
    int32_t n_out;
    int32_t n_tokens;     /* tokens computed by this step, guesses among them */
} lt_result;

LT_API void lt_engine_opts_init(lt_engine_opts *o);
LT_API void lt_sampling_init(lt_sampling *s);
/* 1: what is sampled for a position depends on the history alone; 0: on lt_out.state as well, so nothing can be guessed
 * ahead, and a sequence that is closed and opened again needs it. */
LT_API int32_t lt_sampling_is_stateless(const lt_sampling *s);
LT_API int lt_engine_open(lt_engine **out, const char *path, const lt_engine_opts *opts);
LT_API void lt_engine_close(lt_engine *e);
LT_API const lt_vocab *lt_engine_vocab(const lt_engine *e);   /* ANY THREAD; lives as long as the engine */
LT_API int lt_engine_describe(const lt_engine *e, lt_engine_info *out);
LT_API int lt_engine_read_stats(const lt_engine *e, lt_engine_stats *out);

/* Opens a sequence with a copy of the prompt (n >= 1 ids).  *n_cached tokens of it need no computing: they came from the
 * prefix tree (at most n - 1).  `scope` separates users that must not see each other's cache; 0 is the common one. */
LT_API int lt_seq_open(lt_engine *e, const int32_t *prompt, int32_t n, uint64_t scope, const lt_sampling *s, int32_t *seq, int32_t *n_cached);
/* Takes from the prefix tree and the other open sequences what they have computed of seq's history meanwhile (not for
 * LT_SAMPLE_NO_CACHE).  *n_computed is what seq has then; it can be less by a part of a page when no page is free.  A sequence
 * that has been shifted, or has filled a window of self-extend, takes nothing.  With recurrent layers seq takes what is more than it has,
 * up to a checkpoint. */
LT_API int lt_seq_adopt(lt_engine *e, int32_t seq, int32_t *n_computed);
/* All rows or none; a sequence at most once.  LT_E_KV_FULL: close a sequence and try again.
 * A row that catches up with its history samples the next token.  With n_draft, the tokens after that are guessed from what
 * followed the same ids before (in the prefix tree, in this history) and computed in the same pass; each is sampled as ever,
 * and as long as the samples are what was guessed, the row gains one more.  So the tokens are the same with and without. */
LT_API int lt_step(lt_engine *e, const lt_row *rows, int32_t n_rows, lt_result *result);
LT_API int lt_seq_close(lt_engine *e, int32_t seq, int32_t keep);   /* keep != 0: its pages stay as prefix cache */
/* *n: how many tokens one row may advance it at most, were they known: to the end of the context, and with self-extend to where its
 * window is full (the next row then divides the positions first). */
LT_API int lt_seq_room(const lt_engine *e, int32_t seq, int32_t *n);
/* Context shift: the tokens n_keep .. n_keep + n_discard - 1 leave the history, which must have been computed so far; those after them
 * move down by n_discard, keys turned to the new positions, values as they were.  What has not been computed moves along.  Draws after
 * it come from another key than the seed's, as positions come again.  From the first moved token on nothing of the sequence becomes prefix
 * cache any more: another sequence with the same ids would not have the same bits.  LT_E_KV_FULL, and nothing changed: pages that
 * others share would have to be copied, and there are too few.  Not with self-extend (LT_E_UNSUPPORTED). */
LT_API int lt_seq_shift(lt_engine *e, int32_t seq, int32_t n_keep, int32_t n_discard);

/* ---- saved histories ------------------------------------------------------------------------------------------------ */

/* Keys and values of tokens page * page_tokens and on, as page_bytes bytes that only an engine of the same model and KV types
 * can use.  At least one of the tokens must be computed; what belongs to the others is zero.  Not after lt_seq_shift or self-extend. */
LT_API int lt_seq_read_page(const lt_engine *e, int32_t seq, int32_t page, void *out, size_t cap, size_t *need);
/* The next page of a history, read instead of computed: its tokens, to the end of the page or of the history, count as computed.
 * LT_E_FORMAT: another size than page_bytes, values that this engine would never have written (not finite, out of range), or tokens
 * beyond the first self-extend window. */
LT_API int lt_seq_write_page(lt_engine *e, int32_t seq, int32_t page, const void *in, size_t n);
/* Takes the end of a history out of the prefix tree: pages that no sequence and no longer history uses, down to the first n_keep ids. */
LT_API int lt_cache_forget(lt_engine *e, const int32_t *ids, int32_t n, int32_t n_keep, uint64_t scope);

#endif
