/* roles.c - tokens that are known by their text, and the metadata that says what the rest are for.
 *
 * Which tokens end generation is not in the files: it is told by the end-of-turn texts of the model families.  Converters
 * have often given such tokens the wrong type, so the type follows from the text as well. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "token/vocab_data.h"

enum { EOG = 1, EOT = 2, EOM = 4, FIM_PAD = 8, FIM_REPO = 16, FIM_SEP = 32, SHOWN = 64, END = 128, CALL = 256, IF_CONTROL = 512 };

/* Where several texts could be the end-of-turn token, the first row that the vocabulary has is.  IF_CONTROL: only where the
 * file calls it a control token; Gemma and Qwen have a plain </s>, which is struck-out text in HTML. */
static const struct {
    const char *text;
    int roles;
} known[] = {
    {"<|eot_id|>", EOG | EOT},
    {"<|im_end|>", EOG | EOT},
    {"<end_of_turn>", EOG | EOT},
    {"<|end|>", EOG | EOT | END},
    {"<|endoftext|>", EOG | EOT},
    {"<|end_of_text|>", EOG | EOT},
    {"<EOT>", EOG | EOT},
    {"_<EOT>", EOG | EOT},
    {"[EOT]", EOG | EOT},
    {"<\uFF5Cend\u2581of\u2581sentence\uFF5C>", EOG | EOT},
    {"<end_of_utterance>", EOG | EOT},
    {"<|eom_id|>", EOG | EOM},
    {"<|return|>", EOG},
    {"<|call|>", EOG | CALL},
    {"<|calls|>", EOG | CALL},
    {"<|flush|>", EOG},
    {"</s>", EOG | IF_CONTROL},
    {"[EOS]", EOG},
    {"<eos>", EOG},
    {"<turn|>", EOG},
    {"<|tool_response>", EOG},
    {"[e~[", EOG},
    {"<|fim_pad|>", FIM_PAD},
    {"<fim-pad>", FIM_PAD},
    {"<fim_pad>", FIM_PAD},
    {"<PAD>", FIM_PAD},
    {"[PAD]", FIM_PAD},
    {"<|fim_repo|>", FIM_REPO},
    {"<|repo_name|>", FIM_REPO},
    {"<fim-repo>", FIM_REPO},
    {"<REPO>", FIM_REPO},
    {"<reponame>", FIM_REPO},
    {"<|file_sep|>", FIM_SEP},
    {"<|channel|>", SHOWN},
    {"<|message|>", SHOWN},
    {"<|start|>", SHOWN},
    {"<|constrain|>", SHOWN},
};
_Static_assert(sizeof known / sizeof *known <= LT_N_ROLES, "role_ids is too small");
enum { N_KNOWN = sizeof known / sizeof *known, MAX_KNOWN_BYTES = 32 };

int lt_role_find(const char *text, uint64_t n, int stored_type)
{
    if (n < 4 || n > MAX_KNOWN_BYTES || (*text != '<' && *text != '[' && *text != '_'))
        return -1;
    for (int i = 0; i < N_KNOWN; i++)
        if (strlen(known[i].text) == n && memcmp(known[i].text, text, n) == 0)
            return known[i].roles & IF_CONTROL && stored_type != LT_TYPE_CONTROL ? -1 : i;
    return -1;
}

int lt_role_type(int role)
{
    return known[role].roles & SHOWN ? LT_TYPE_USER : LT_TYPE_CONTROL;
}

/* First known text with that role that the vocabulary has: its id, or -1. */
static int32_t first_with(int roles, const int32_t *role_ids)
{
    for (int i = 0; i < N_KNOWN; i++)
        if (role_ids[i] >= 0 && (known[i].roles & roles) == roles)
            return role_ids[i];
    return -1;
}

static int32_t id_of(const char *text, const int32_t *role_ids)
{
    return role_ids[lt_role_find(text, strlen(text), LT_TYPE_CONTROL)];
}

static void mark_eog(lt_vocab *v, int32_t id)
{
    if (id >= 0)
        v->marks[id] |= LT_MARK_EOG;
}

/* An id that the file gives; *id stays when it gives none. */
static int read_id(const lt_vocab *v, const lt_gguf *g, const char *key, int32_t *id)
{
    uint32_t value = UINT32_MAX;
    if (!lt_gguf_has(g, key))
        return LT_OK;
    LT_TRY(lt_gguf_get_u32(g, key, true, &value));
    if (value >= (uint32_t)v->info.n_tokens)
        return lt_fail(LT_E_FORMAT, "%s: key %s is %" PRIu32 ", the vocabulary has %d tokens", lt_gguf_path(g), key, value,
                       v->info.n_tokens);
    *id = (int32_t)value;
    return LT_OK;
}

/* Nothing is ever padded here, and files with a padding id beyond their vocabulary are common: it counts as none. */
static int read_padding_id(lt_vocab *v, const lt_gguf *g)
{
    uint32_t value = UINT32_MAX;
    LT_TRY(lt_gguf_get_u32(g, "tokenizer.ggml.padding_token_id", false, &value));
    v->info.pad = value < (uint32_t)v->info.n_tokens ? (int32_t)value : -1;
    return LT_OK;
}

static int32_t if_there(const lt_vocab *v, int32_t id)
{
    return id < v->info.n_tokens ? id : -1;
}

static int load_ids(lt_vocab *v, const lt_gguf *g, int32_t *eom)
{
    static const lt_vocab_info usual[] = {
        [LT_KIND_SPM] = {.unk = 0, .bos = 1, .eos = 2, .sep = -1},       [LT_KIND_BPE] = {.unk = -1, .bos = -1, .eos = -1, .sep = -1},
        [LT_KIND_WPM] = {.unk = 100, .bos = 101, .eos = -1, .sep = 102}, [LT_KIND_UGM] = {.unk = 2, .bos = -1, .eos = 1, .sep = -1},
        [LT_KIND_RWKV] = {.unk = -1, .bos = -1, .eos = -1, .sep = -1},
    };
    const lt_vocab_info *u = &usual[v->info.kind];
    v->info.unk = if_there(v, u->unk);
    v->info.bos = if_there(v, u->bos);
    v->info.eos = if_there(v, u->eos);
    v->info.sep = if_there(v, u->sep);
    LT_TRY(read_id(v, g, "tokenizer.ggml.unknown_token_id", &v->info.unk));
    if (v->info.kind == LT_KIND_WPM)
        LT_TRY(read_id(v, g, "tokenizer.ggml.cls_token_id", &v->info.bos));
    LT_TRY(read_id(v, g, "tokenizer.ggml.bos_token_id", &v->info.bos));
    LT_TRY(read_id(v, g, "tokenizer.ggml.eos_token_id", &v->info.eos));
    LT_TRY(read_id(v, g, "tokenizer.ggml.seperator_token_id", &v->info.sep)); /* the key's own spelling */
    LT_TRY(read_id(v, g, "tokenizer.ggml.eot_token_id", &v->info.eot));
    LT_TRY(read_id(v, g, "tokenizer.ggml.eom_token_id", eom));
    return read_padding_id(v, g);
}

static int load_flags(lt_vocab *v, const lt_gguf *g)
{
    bool spm = v->info.kind == LT_KIND_SPM;
    bool wpm = v->info.kind == LT_KIND_WPM, ugm = v->info.kind == LT_KIND_UGM;
    uint32_t pre = v->pre ? v->pre->flags : 0;
    bool bos = spm || wpm || pre & LT_PRE_BOS, eos = ugm, sep = wpm || pre & LT_PRE_SEP, space = spm;
    LT_TRY(lt_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", false, &bos));
    LT_TRY(lt_gguf_get_bool(g, "tokenizer.ggml.add_eos_token", false, &eos));
    LT_TRY(lt_gguf_get_bool(g, "tokenizer.ggml.add_sep_token", false, &sep));
    LT_TRY(lt_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", false, &space));
    bos = bos || pre & LT_PRE_SURE_BOS;
    v->info.add_bos = bos && v->info.bos >= 0;
    v->info.add_eos = eos && v->info.eos >= 0;
    v->info.add_sep = sep && v->info.sep >= 0;
    v->info.add_space_prefix = space && (spm || ugm);
    return LT_OK;
}

/* A role that a key or else a text fills. */
static int mark_filled(lt_vocab *v, const lt_gguf *g, const char *key, int role, const int32_t *role_ids)
{
    int32_t id = first_with(role, role_ids);
    LT_TRY(read_id(v, g, key, &id));
    mark_eog(v, id);
    return LT_OK;
}

static int load_eog(lt_vocab *v, const lt_gguf *g, const int32_t *role_ids, int32_t eom)
{
    for (int i = 0; i < N_KNOWN; i++)
        if (known[i].roles & EOG)
            mark_eog(v, role_ids[i]);
    mark_eog(v, v->info.eos);
    mark_eog(v, v->info.eot);
    mark_eog(v, eom);
    LT_TRY(mark_filled(v, g, "tokenizer.ggml.fim_pad_token_id", FIM_PAD, role_ids));
    LT_TRY(mark_filled(v, g, "tokenizer.ggml.fim_rep_token_id", FIM_REPO, role_ids));
    return mark_filled(v, g, "tokenizer.ggml.fim_sep_token_id", FIM_SEP, role_ids);
}

/* Where <|return|> and <|call|>, or <|calls|> and <|flush|>, end turns, <|end|> ends a message and is shown. */
static void unmark_message_end(lt_vocab *v, const int32_t *role_ids)
{
    int32_t end = first_with(END, role_ids);
    bool harmony = id_of("<|return|>", role_ids) >= 0 || id_of("<|flush|>", role_ids) >= 0;
    if (end < 0 || first_with(CALL, role_ids) < 0 || !harmony)
        return;
    v->marks[end] &= (uint8_t)~LT_MARK_EOG;
    v->type[end] = LT_TYPE_USER;
}

static bool is_phi3(const char *name, uint64_t n)
{
    for (uint64_t i = 0; i + 4 <= n; i++) {
        if (tolower((unsigned char)name[i]) != 'p' || tolower((unsigned char)name[i + 1]) != 'h' ||
            tolower((unsigned char)name[i + 2]) != 'i')
            continue;
        if (name[i + 3] == '3' || (name[i + 3] == '-' && i + 5 <= n && name[i + 4] == '3'))
            return true;
    }
    return false;
}

static bool has_text(const lt_vocab *v, int32_t id, const char *text)
{
    uint32_t n_bytes;
    const uint8_t *piece = lt_piece(v, id, &n_bytes);
    return strlen(text) == n_bytes && memcmp(text, piece, n_bytes) == 0;
}

/* Phi-3's template puts white space behind its special tokens that the model has not been trained to see. */
static void mark_phi3(lt_vocab *v)
{
    static const char *const kept[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (int32_t id = 0; id < v->info.n_tokens; id++) {
        if (v->type[id] != LT_TYPE_CONTROL && v->type[id] != LT_TYPE_USER && v->type[id] != LT_TYPE_UNKNOWN)
            continue;
        bool strip = true;
        for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
            strip = strip && !has_text(v, id, kept[i]);
        if (strip)
            v->marks[id] |= LT_MARK_STRIP;
    }
}

/* The mask token of some encoders takes the white space before it. */
static void mark_mask(lt_vocab *v, const char *text)
{
    for (int32_t id = 0; id < v->info.n_tokens; id++)
        if (has_text(v, id, text))
            v->marks[id] |= LT_MARK_STRIP_BEFORE;
}

/* Which white space special tokens drop is not in the files: it follows from who the model is. */
static int mark_strips(lt_vocab *v, const lt_gguf *g)
{
    const char *name = NULL, *pre = NULL, *arch = NULL;
    uint64_t n_name = 0, n_pre = 0, n_arch = 0;
    LT_TRY(lt_gguf_get_str(g, "general.name", false, &name, &n_name));
    LT_TRY(lt_gguf_get_str(g, "tokenizer.ggml.pre", false, &pre, &n_pre));
    LT_TRY(lt_gguf_get_str(g, "general.architecture", false, &arch, &n_arch));
    if (lt_is_one_of("jina-v2-de jina-v2-es jina-v2-code", pre, n_pre) || lt_is_one_of("nomic-bert-moe jina-bert-v3", arch, n_arch))
        mark_mask(v, "<mask>");
    else if (name && is_phi3(name, n_name))
        mark_phi3(v);
    else if (lt_is_one_of("modern-bert", pre, n_pre))
        mark_mask(v, "[MASK]");
    return LT_OK;
}

int lt_roles_load(lt_vocab *v, const lt_gguf *g, const int32_t role_ids[LT_N_ROLES])
{
    int32_t eom = first_with(EOM, role_ids);
    v->info.eot = first_with(EOT, role_ids);
    LT_TRY(load_ids(v, g, &eom));
    LT_TRY(load_flags(v, g));
    LT_TRY(load_eog(v, g, role_ids, eom));
    unmark_message_end(v, role_ids);
    return mark_strips(v, g);
}
