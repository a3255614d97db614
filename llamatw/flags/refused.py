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


_GPU = "this build computes on the processor"
_LORA = "adapters are not served yet"
_MEDIA = "images and sound are not served yet"
_EMBEDDINGS = "embeddings and ranking are not served yet"
_DRAFT = "there are no draft models; --spec-type ngram-simple guesses without one"
_ROUTER = "one process serves one model"
_AGENT = "the server runs no tools"
_LOG = "the log is Twisted's: see twistd --logfile and --logger"
_AFFINITY = "use taskset(1), which -t follows, and --numa"
_CACHE = "the prefix cache has pages, not checkpoints: see --cache-ram"
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
    _valued(_GPU, "-ncmoe --n-cpu-moe -ncffn --n-cpu-ffn", env="N_CPU_MOE"),
    _valued("memory is what -c, -b and -cram say", "-fit --fit", "off", "FIT"),
    _valued("memory is what -c, -b and -cram say", "-fitt --fit-target -fitc --fit-ctx"),
    _switch(_GPU, "--op-offload"),
    _switch(_GPU, "--no-op-offload", granted=True),
    _switch(_GPU, "-kvo --kv-offload"),
    _switch(_GPU, "-nkvo --no-kv-offload", granted=True),
    _switch(_GPU, "--no-host", granted=True),
    _valued("the engine is in this process", "--rpc", env="RPC"),
    # loading and memory
    _switch("weights are always packed anew", "--repack", granted=True),
    _switch("weights are always packed anew", "--no-repack"),
    _switch("the file's header is always checked, and values are numbers whatever they are", "--check-tensors"),
    _switch("nothing is prepared by a first pass", "--warmup"),
    _switch("nothing is prepared by a first pass", "--no-warmup", granted=True),
    _valued("tensors are read at load", "-lzm --lazy-mode", "off"),
    _switch("32-bit keys and values are -ctk f32 -ctv f32", "--memory-f32"),
    _switch("layers with a window keep all their pages", "--swa-full", granted=True, env="SWA_FULL"),
    _valued("--no-kv-unified divides the context evenly", "--kv-unified-per-slot"),
    _valued(_CACHE, "-ctxcp --ctx-checkpoints --swa-checkpoints", env="CTX_CHECKPOINTS"),
    _valued(_CACHE, "-cms --checkpoint-min-step"),
    _valued("every prefix is found, however short", "-sps --slot-prompt-similarity", "0"),
    _switch("the prefix cache keeps what slots had, until others need the room", "--cache-idle-slots", granted=True),
    _switch("the prefix cache keeps what slots had, until others need the room", "--no-cache-idle-slots"),
    # threads
    _valued(_AFFINITY, "-C --cpu-mask -Cr --cpu-range --cpu-strict --prio -Cb --cpu-mask-batch -Crb --cpu-range-batch"),
    _valued(_AFFINITY, "--cpu-strict-batch --prio-batch"),
    _valued("threads sleep when there is nothing to do", "--poll --poll-batch", "0"),
    _valued("one thread speaks HTTP", "--threads-http", "-1 1", "THREADS_HTTP"),
    # where models come from
    _valued("models come from files, repositories (-hf) and URLs (-mu)", "-dr --docker-repo", env="DOCKER_REPO"),
    _switch("the cache is a directory of files: see docs/operating.md", "-cl --cache-list"),
    _valued(_LORA, "--lora", env="LORA"),
    _valued(_LORA, "--lora-scaled --lora-base --control-vector --control-vector-scaled --control-vector-layer-range"),
    _switch(_LORA, "--lora-init-without-apply"),
    # what is not served
    _switch(_EMBEDDINGS, "--embedding --embeddings", env="EMBEDDINGS"),
    _switch(_EMBEDDINGS, "--rerank --reranking", env="RERANKING"),
    _valued(_EMBEDDINGS, "--pooling --embd-normalize", env="POOLING"),
    _valued(_MEDIA, "-mm --mmproj", env="MMPROJ"),
    _valued(_MEDIA, "-mmu --mmproj-url", env="MMPROJ_URL"),
    _valued(_MEDIA, "-mmdev --media-path --image-min-tokens --image-max-tokens --mtmd-batch-max-tokens"),
    _valued(_MEDIA, "--video-fps --video-timestamp-interval --video-ffmpeg-dir"),
    _switch(_MEDIA, "--mmproj-auto --mmproj-offload --no-mmproj-offload"),
    _switch(_MEDIA, "--no-mmproj --no-mmproj-auto", granted=True),
    _valued(_DRAFT, "-md --model-draft --spec-draft-model", env="MODEL_DRAFT"),
    _valued(_DRAFT, "-hfd --hf-repo-draft -ngld --gpu-layers-draft -devd --device-draft -ctkd -ctvd -td -tbd -cd"),
    _valued("guesses are always of all lengths up to --spec-draft-n-max", "--spec-draft-n-min", "0"),
    _valued(_DRAFT, "--spec-draft-p-split --spec-draft-p-min -lcs -lcd --spec-synth-len --spec-synth-rates"),
    _valued("guesses follow what is in the cache; there is nothing to set", "--spec-ngram-simple-size-n"),
    _valued("guesses follow what is in the cache; there is nothing to set", "--spec-ngram-simple-size-m"),
    _valued("guesses follow what is in the cache; there is nothing to set", "--spec-ngram-simple-min-hits"),
    _valued("it was renamed: --spec-draft-n-max", "--draft --draft-n --draft-max", env="DRAFT_MAX"),
    _valued("it was removed", "--draft-min --draft-n-min --draft-p-min", env="DRAFT_MIN"),
    _switch("ngram-simple is the default", "--spec-default", granted=True),
    # other ways of running
    _valued(_ROUTER, "--models-dir", env="MODELS_DIR"),
    _valued(_ROUTER, "--models-preset --models-max", env="MODELS_PRESET"),
    _switch(_ROUTER, "--models-autoload --no-models-autoload", granted=True),
    _valued("the model stays loaded", "--sleep-idle-seconds", "-1"),
    _valued(_AGENT, "--tools --tools-runtime --mcp-servers-config --mcp-servers-json"),
    _switch(_AGENT, "-ag --agent --ui-mcp-proxy --webui-mcp-proxy"),
    _valued("the page asks the server for its settings", "--ui-config --ui-config-file --webui-config"),
    # chat
    _valued("requests state them: chat_template_kwargs", "--chat-template-kwargs", "{}", "CHAT_TEMPLATE_KWARGS"),
    _valued(_REASONING, "--reasoning-format", "none auto", "THINK"),
    _valued(_REASONING, "-rea --reasoning --reasoning-effort --reasoning-budget-message"),
    _valued(_REASONING, "--reasoning-budget", "-1", "THINK_BUDGET"),
    _switch(_REASONING, "--reasoning-preserve --no-reasoning-preserve"),
    _switch("answers are not taken apart", "--skip-chat-parsing", granted=True),
    _switch("control tokens are not shown", "-sp --special"),
    _valued("stop strings belong to requests", "-r --reverse-prompt"),
    # sampling
    _switch("sampling runs with the model", "-bs --backend-sampling"),
    # logs
    _switch(_LOG, "--log-prefix --log-timestamps --log-jsonl --perf", env="LOG_PREFIX"),
    _switch(_LOG, "--no-log-prefix --no-log-timestamps --no-perf"),
    _valued(_LOG, "--log-colors --log-verbosity -lv --verbosity"),
    _valued("prompts are never written to files", "--log-prompts-dir"),
]
