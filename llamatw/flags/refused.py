"""Flags of the reference servers that this one does not have, and why.  None is ignored.

A value or switch that asks for what is the case anyway is granted: many start scripts say every flag they know.
"""

from __future__ import annotations

import msgspec


class Refused(msgspec.Struct, frozen=True):
    reason: str
    names: tuple[str, ...]
    takes_value: bool = True
    granted: tuple[str, ...] = ()  # values that ask for nothing
    is_granted: bool = False  # of a switch: it asks for nothing
    env: str | None = None


_FETCH = "models come from files, from Hugging Face (-hf USER/NAME) and from URLs (-mu)"
_GPU = "this build computes on the processor"
_LORA = "adapters are not served yet"
_MEDIA = "images and sound are not served yet"
_EMBEDDINGS = "embeddings and ranking are not served yet"
_DRAFT = "there are no draft models; --spec-type ngram-simple guesses without one"
_ROUTER = "one process serves one model"
_AGENT = "the server runs no tools"
_LOG = "the log is Twisted's: see twistd --logfile and --logger"
_AFFINITY = "use taskset(1), which -t follows, and --numa"
_FIT = "memory is what -c, -b and -cram say"
_IDLE = "the prefix cache keeps what slots had, until others need the room"
_NGRAMS = "guesses follow what is in the cache; there is nothing to set"
_PAGE = "the page asks the server for its settings"
_CACHE = "checkpoints are made where prompts part, as many as --cache-ram has room for"
_REASONING = "reasoning is not told apart from the answer yet"


def _valued(reason: str, names: str, granted: str = "", env: str | None = None) -> Refused:
    return Refused(reason, tuple(names.split()), True, tuple(granted.split()), env=env and f"LLAMA_ARG_{env}")


def _switch(reason: str, names: str, granted: bool = False, env: str | None = None) -> Refused:
    return Refused(reason, tuple(names.split()), False, is_granted=granted, env=env and f"LLAMA_ARG_{env}")


REFUSED = [
    # devices
    _valued(_GPU, "-ngl --gpu-layers --n-gpu-layers", "0 auto", "N_GPU_LAYERS"),
    _valued(_GPU, "-sm --split-mode", "none", "SPLIT_MODE"),
    _valued(_GPU, "-ts --tensor-split", env="TENSOR_SPLIT"),
    _valued(_GPU, "-mg --main-gpu", "0", "MAIN_GPU"),
    _switch(_GPU, "-nommq --no-mul-mat-q"),
    _valued(_GPU, "-dev --device", "none", "DEVICE"),
    _switch(_GPU, "--list-devices"),
    _valued(_GPU, "-ot --override-tensor", env="OVERRIDE_TENSOR"),
    _switch(_GPU, "-cmoe --cpu-moe", granted=True, env="CPU_MOE"),
    _valued(_GPU, "-ncmoe --n-cpu-moe", env="N_CPU_MOE"),
    _valued(_GPU, "-ncffn --n-cpu-ffn", env="N_CPU_FFN"),
    _valued(_GPU, "--moe-cache-mib", "0", "MOE_CACHE_MIB"),
    _valued(_FIT, "-fit --fit", "off", "FIT"),
    _valued(_FIT, "-fitt --fit-target", env="FIT_TARGET"),
    _valued(_FIT, "-fitc --fit-ctx", env="FIT_CTX"),
    _switch(_GPU, "--op-offload"),
    _switch(_GPU, "--no-op-offload", granted=True),
    _switch(_GPU, "-kvo --kv-offload", env="KV_OFFLOAD"),
    _switch(_GPU, "-nkvo --no-kv-offload", granted=True),
    _switch(_GPU, "--no-host", granted=True, env="NO_HOST"),
    _valued("the engine is in this process", "--rpc", env="RPC"),
    # loading and memory
    _switch("weights are always packed anew", "--repack", granted=True, env="REPACK"),
    _switch("weights are always packed anew", "-nr --no-repack"),
    _switch("the file's header is always checked, and values are numbers whatever they are", "--check-tensors"),
    _switch("nothing is prepared by a first pass", "--warmup"),
    _switch("nothing is prepared by a first pass", "--no-warmup", granted=True),
    _valued("tensors are read at load", "-lzm --lazy-mode", "off", "LAZY_MODE"),
    _switch("32-bit keys and values are -ctk f32 -ctv f32", "--memory-f32"),
    _valued("pages leave no holes", "-dt --defrag-thold", env="DEFRAG_THOLD"),
    _switch("layers with a window keep all their pages", "--swa-full", granted=True, env="SWA_FULL"),
    _valued("--no-kv-unified divides the context evenly", "--kv-unified-per-slot", env="KV_UNIFIED_PER_SLOT"),
    _valued(_CACHE, "-ctxcp --ctx-checkpoints --swa-checkpoints", env="CTX_CHECKPOINTS"),
    _valued(_CACHE, "-cms --checkpoint-min-step", env="CHECKPOINT_MIN_SPACING_NT"),
    _valued("every prefix is found, however short", "-sps --slot-prompt-similarity", "0"),
    _switch(_IDLE, "--cache-idle-slots", granted=True, env="CACHE_IDLE_SLOTS"),
    _switch(_IDLE, "--no-cache-idle-slots"),
    # threads
    _valued(_AFFINITY, "-C --cpu-mask -Cr --cpu-range --cpu-strict --prio -Cb --cpu-mask-batch -Crb --cpu-range-batch"),
    _valued(_AFFINITY, "--cpu-strict-batch --prio-batch"),
    _valued("threads sleep when there is nothing to do", "--poll --poll-batch", "0"),
    _valued("one thread speaks HTTP", "--threads-http", "-1 1", "THREADS_HTTP"),
    # where models come from
    _valued(_FETCH, "-dr --docker-repo", env="DOCKER_REPO"),
    _switch("the cache is a directory of files: see docs/operating.md", "-cl --cache-list"),
    _switch(_FETCH, "--embd-gemma-default --vision-gemma-4b-default --vision-gemma-12b-default"),
    _switch(_FETCH, "--fim-qwen-1.5b-default --fim-qwen-3b-default --fim-qwen-7b-default --fim-qwen-30b-default"),
    _switch(_FETCH, "--fim-qwen-7b-spec --fim-qwen-14b-spec --gpt-oss-20b-default --gpt-oss-120b-default"),
    _valued(_LORA, "--lora"),
    _valued(_LORA, "--lora-scaled --lora-base --control-vector --control-vector-scaled --control-vector-layer-range"),
    _switch(_LORA, "--lora-init-without-apply"),
    # what is not served
    _switch(_EMBEDDINGS, "--embedding --embeddings", env="EMBEDDINGS"),
    _switch(_EMBEDDINGS, "--rerank --reranking", env="RERANKING"),
    _valued(_EMBEDDINGS, "--pooling", env="POOLING"),
    _valued(_EMBEDDINGS, "--embd-normalize"),
    _valued(_MEDIA, "-mm --mmproj", env="MMPROJ"),
    _valued(_MEDIA, "-mmu --mmproj-url", env="MMPROJ_URL"),
    _valued(_MEDIA, "-mmdev --mmproj-device --media-path"),
    _valued(_MEDIA, "--image-min-tokens", env="IMAGE_MIN_TOKENS"),
    _valued(_MEDIA, "--image-max-tokens", env="IMAGE_MAX_TOKENS"),
    _valued(_MEDIA, "--mtmd-batch-max-tokens", env="MTMD_BATCH_MAX_TOKENS"),
    _valued(_MEDIA, "--video-fps", env="VIDEO_FPS"),
    _valued(_MEDIA, "--video-timestamp-interval", env="VIDEO_TIMESTAMP_INTERVAL"),
    _valued(_MEDIA, "--video-ffmpeg-dir", env="VIDEO_FFMPEG_DIR"),
    _switch(_MEDIA, "--mmproj-auto", env="MMPROJ_AUTO"),
    _switch(_MEDIA, "--mmproj-offload --no-mmproj-offload", env="MMPROJ_OFFLOAD"),
    _switch(_MEDIA, "--no-mmproj --no-mmproj-auto", granted=True),
    # guesses
    _valued(_DRAFT, "-md --model-draft --spec-draft-model", env="SPEC_DRAFT_MODEL"),
    _valued(_DRAFT, "-hfd -hfrd --hf-repo-draft --spec-draft-hf", env="SPEC_DRAFT_HF_REPO"),
    _valued(_DRAFT, "-ngld --gpu-layers-draft --n-gpu-layers-draft --spec-draft-ngl", env="N_GPU_LAYERS_DRAFT"),
    _valued(_DRAFT, "-ctkd --cache-type-k-draft --spec-draft-type-k", env="SPEC_DRAFT_CACHE_TYPE_K"),
    _valued(_DRAFT, "-ctvd --cache-type-v-draft --spec-draft-type-v", env="SPEC_DRAFT_CACHE_TYPE_V"),
    _valued(_DRAFT, "-devd --device-draft --spec-draft-device -otd --override-tensor-draft -cd --ctx-size-draft"),
    _valued(_DRAFT, "-td --threads-draft --spec-draft-threads -tbd --threads-batch-draft --spec-draft-threads-batch"),
    _valued(
        "guesses are always of all lengths up to --spec-draft-n-max", "--spec-draft-n-min", "0", "SPEC_DRAFT_N_MIN"
    ),
    _valued(_DRAFT, "--spec-draft-p-split --draft-p-split", env="SPEC_DRAFT_P_SPLIT"),
    _valued(_DRAFT, "--spec-draft-p-min --draft-p-min", env="SPEC_DRAFT_P_MIN"),
    _valued(_DRAFT, "--spec-draft-sampling", env="SPEC_DRAFT_SAMPLING"),
    _valued(_DRAFT, "-lcs --lookup-cache-static -lcd --lookup-cache-dynamic"),
    _valued(_DRAFT, "--spec-synth-len", env="SPEC_SYNTH_LEN"),
    _valued(_DRAFT, "--spec-synth-rates", env="SPEC_SYNTH_RATES"),
    _valued(_NGRAMS, "--spec-ngram-simple-size-n --spec-ngram-simple-size-m --spec-ngram-simple-min-hits"),
    _valued(_NGRAMS, "--spec-ngram-mod-n-min --spec-ngram-mod-n-max --spec-ngram-mod-n-match"),
    _valued(_NGRAMS, "--spec-ngram-map-k-size-n --spec-ngram-map-k-size-m --spec-ngram-map-k-min-hits"),
    _valued(_NGRAMS, "--spec-ngram-map-k4v-size-n --spec-ngram-map-k4v-size-m --spec-ngram-map-k4v-min-hits"),
    _valued("it was renamed: --spec-draft-n-max", "--draft --draft-n --draft-max", env="DRAFT_MAX"),
    _valued("it was removed", "--draft-min --draft-n-min", env="DRAFT_MIN"),
    _switch("ngram-simple is the default", "--spec-default", granted=True),
    # other ways of running
    _valued(_ROUTER, "--models-dir", env="MODELS_DIR"),
    _valued(_ROUTER, "--models-preset", env="MODELS_PRESET"),
    _valued(_ROUTER, "--models-max", env="MODELS_MAX"),
    _switch(_ROUTER, "--models-autoload --no-models-autoload", granted=True),
    _valued("the model stays loaded", "--sleep-idle-seconds", "-1"),
    _valued(_AGENT, "--tools", env="TOOLS"),
    _valued(_AGENT, "--tools-runtime", env="TOOLS_RUNTIME"),
    _valued(_AGENT, "--mcp-servers-config", env="MCP_SERVERS_CONFIG"),
    _valued(_AGENT, "--mcp-servers-json", env="MCP_SERVERS_JSON"),
    _switch(_AGENT, "-ag --agent", env="AGENT"),
    _switch(_AGENT, "--ui-mcp-proxy --webui-mcp-proxy", env="UI_MCP_PROXY"),
    _switch(_AGENT, "-no-ag --no-agent --no-ui-mcp-proxy --no-webui-mcp-proxy", granted=True),
    _valued(_PAGE, "--ui-config --webui-config", env="UI_CONFIG"),
    _valued(_PAGE, "--ui-config-file --webui-config-file", env="UI_CONFIG_FILE"),
    # chat
    _valued("requests state them: chat_template_kwargs", "--chat-template-kwargs", "{}", "CHAT_TEMPLATE_KWARGS"),
    _valued(_REASONING, "--reasoning-format", "none auto", "THINK"),
    _valued(_REASONING, "-rea --reasoning", env="REASONING"),
    _valued(_REASONING, "--reasoning-effort", env="REASONING_EFFORT"),
    _valued(_REASONING, "--reasoning-budget", "-1", "THINK_BUDGET"),
    _valued(_REASONING, "--reasoning-budget-message", env="THINK_BUDGET_MESSAGE"),
    _switch(_REASONING, "--reasoning-preserve --no-reasoning-preserve", env="REASONING_PRESERVE"),
    _switch("answers are not taken apart", "--skip-chat-parsing", granted=True, env="SKIP_CHAT_PARSING"),
    _switch("answers are not taken apart", "--no-skip-chat-parsing"),
    _switch("control tokens are not shown", "-sp --special"),
    _valued("stop strings belong to requests", "-r --reverse-prompt"),
    # sampling
    _switch("sampling runs with the model", "-bs --backend-sampling", env="BACKEND_SAMPLING"),
    # logs
    _switch(_LOG, "--log-prefix", env="LOG_PREFIX"),
    _switch(_LOG, "--log-timestamps", env="LOG_TIMESTAMPS"),
    _switch(_LOG, "--log-jsonl", env="LOG_JSONL"),
    _switch(_LOG, "--perf", env="PERF"),
    _switch(_LOG, "--no-log-prefix --no-log-timestamps"),
    _switch(_LOG, "--no-log-jsonl --no-perf", granted=True),
    _valued(_LOG, "--log-colors", env="LOG_COLORS"),
    _valued(_LOG, "-lv --verbosity --log-verbosity", env="LOG_VERBOSITY"),
    _valued("prompts are never written to files", "--log-prompts-dir"),
]
