/* table_tmpl.h - the table of one ISA level; included last by kernels_<isa>.c. */
const lt_kernels LT_KERNEL(lt_kernels) = {
    .name = LT_ISA_NAME,
    .matmul = {matmul_f32, matmul_f16, matmul_bf16, matmul_q4_0, matmul_q4_1, matmul_q5_0, matmul_q5_1, matmul_q8_0,
               matmul_iq4_nl, matmul_mxfp4, matmul_q2_k, matmul_q3_k, matmul_q4_k, matmul_q5_k, matmul_q6_k, matmul_levels_4,
               matmul_levels_3, matmul_levels_3_half, matmul_ternary},
    .attend = attend,
    .merge = merge,
    .encode = encode,
    .quantize = quantize,
    .rms_norm = rms_norm,
    .add = add_row,
    .silu_mul = silu_mul,
    .rope = rope,
    .to_half = to_half,
    .gelu_mul = gelu_mul,
};
