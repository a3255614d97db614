"""Models that transformers lacks; statements.py has them."""

from __future__ import annotations

from tests.golden.case import BASE, Config, case

LLAMA: Config = {k: v for k, v in BASE.items() if k != "pad_token_id"} | {"rms_norm_eps": 1e-5}

CASES = [
    case("xverse", "XverseForCausalLM", "Llama's block, GQA", bare=True, **LLAMA),
    case("orion", "OrionForCausalLM", "layer norms around a gated MLP", bare=True, **LLAMA),
    case("plamo", "PlamoForCausalLM", "parallel; heads of queries interleaved over those of keys", bare=True, **LLAMA),
    case(
        "deepseek",
        "DeepseekForCausalLM",
        "a dense layer first; experts whose weights do not sum to one, shared ones",
        bare=True,
        **LLAMA
        | {"num_hidden_layers": 3, "first_k_dense_replace": 1, "n_routed_experts": 4, "n_shared_experts": 2}
        | {"num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": False},
    ),
    case(
        "baichuan-13b",
        "BaichuanForCausalLM",
        "ALiBi instead of a rotation, which forty layers say",
        bare=True,
        **LLAMA
        | {
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "num_hidden_layers": 40,
        },
    ),
    case(
        "qwen",
        "QWenLMHeadModel",
        "fused q, k, v with biases; the gate is the second matrix",
        bare=True,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        layer_norm_epsilon=1e-6,
        rotary_emb_base=20000.0,
    ),
    case(
        "exaone",
        "ExaoneForCausalLM",
        "GQA; names of its own",
        bare=True,
        hidden_size=64,
        intermediate_size=96,
        num_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        layer_norm_epsilon=1e-5,
        activation_function="silu",
    ),
    case(
        "refact",
        "GPTRefactForCausalLM",
        "ALiBi, one head of keys, layer norms without biases",
        bare=True,
        n_embd=64,
        n_head=4,
        n_layer=2,
        n_positions=512,
        layer_norm_epsilon=1e-5,
    ),
    case(
        "codeshell",
        "CodeShellForCausalLM",
        "GQA, rotation and biases in GPT's block",
        bare=True,
        n_embd=64,
        n_head=4,
        n_layer=2,
        num_query_groups=2,
        n_positions=512,
        layer_norm_epsilon=1e-5,
    ),
    case(
        "openelm",
        "OpenELMForCausalLM",
        "heads and width of the MLP by layer",
        bare=True,
        model_dim=64,
        head_dim=16,
        num_transformer_layers=3,
        num_query_heads=[4, 8, 12],
        num_kv_heads=[2, 2, 3],
        ffn_multipliers=[1.0, 2.0, 1.5],
        ffn_dim_divisor=16,
        rope_freq_constant=10000,
        max_context_length=512,
    ),
]
