/* unit_tmpl.h - one unit of one panel (panel.h) into registers: its codes, and its sub-blocks' scales and mins. */
typedef struct {
    vb w[8];
    vf dw[2];    /* of each sub-block; of folded codes the first only, and the scales are not in it */
    vf scale[2]; /* of folded codes */
    vf mw;       /* where a unit has a min of its own */
} unit;

INLINE vf load_d(lt_form form, const uint8_t *super)
{
    return lt_forms[form].d == D_HALF ? vf_load_f16(super) : lt_forms[form].d == D_BF16 ? vf_load_bf16(super) : vf_load((const float *)super);
}

INLINE vf load_m(lt_form form, const uint8_t *super)
{
    return vf_load_f16(super + FORM_D_BYTES(form));
}

/* Scale byte of each row, for sub-block s (within the superblock); the bytes of mins lie behind, or are the same. */
INLINE const uint8_t *scales_of(lt_form form, const uint8_t *super, int s)
{
    return super + FORM_SCALES_AT(form) + s * FORM_SCALE_BYTES(form);
}

INLINE vf load_scale(lt_form form, const uint8_t *super, int s)
{
    const uint8_t *scales = scales_of(form, super, s);
    switch (lt_forms[form].scale) {
    case SCALE_I8: return vf_load_i8(scales);
    case SCALE_U8: return vf_load_u8(scales);
    case SCALE_LOW4: return vf_load_low4(scales);
    default: return vf_set1(1.0f);
    }
}

/* Integer mins of sub-blocks 2 * i and 2 * i + 1. */
INLINE vp load_min_pair(lt_form form, const uint8_t *super, int i)
{
    const uint8_t *a = scales_of(form, super, 2 * i), *b = scales_of(form, super, 2 * i + 1);
    return lt_forms[form].min == MIN_U8 ? vp_pair_u8(a + 16, b + 16) : vp_pair_high4(a, b);
}

INLINE void load_codes(lt_form form, const uint8_t *levels, const uint8_t *p, vb w[8])
{
    const int has_4 = FORM_HAS(form, PLANE_4);
    if (FORM_HAS(form, PLANE_8)) {
        UNROLL for (int j = 0; j < 8; j++) w[j] = lt_forms[form].offset == LT_WIDE ? vb_wide(vb_load(p + 64 * j)) : vb_load(p + 64 * j);
    }
    if (has_4) {
        UNROLL for (int j = 0; j < 4; j++)
        {
            vb n = vb_load(p + 64 * j);
            w[j] = vb_low4(n);
            w[j + 4] = vb_high4(n);
        }
        p += 256;
    }
    if (FORM_HAS(form, PLANE_2)) {
        vb t[2] = {vb_load(p), vb_load(p + 64)};
        UNROLL for (int j = 0; j < 8; j++) w[j] = has_4 ? vb_add_bits2(w[j], t[j / 4], j % 4) : vb_bits2(t[j / 4], j % 4);
        p += 128;
    }
    if (FORM_HAS(form, PLANE_1)) {
        UNROLL for (int j = 0; j < 8; j++) w[j] = vb_add_bit(w[j], p + 8 * j, has_4 ? 16 : 4);
    }
    if (lt_forms[form].codes == CODES_LEVELS) {
        UNROLL for (int j = 0; j < 8; j++) w[j] = vb_lookup(w[j], levels);
    }
}

/* Unit u of the superblock. */
INLINE void load_unit(lt_form form, const uint8_t *levels, const uint8_t *super, int u, unit *out)
{
    const int subs = lt_forms[form].subs;
    const vf d = load_d(form, super);
    UNROLL for (int s = 0; s < subs; s++)
    {
        out->scale[s] = load_scale(form, super, u * subs + s);
        out->dw[s] = lt_forms[form].codes == CODES_FOLDED || lt_forms[form].scale == SCALE_NONE ? d : vf_mul(d, out->scale[s]);
    }
    if (lt_forms[form].min == MIN_HALF)
        out->mw = load_m(form, super);
    load_codes(form, levels, super + FORM_UNITS_AT(form) + u * FORM_UNIT_BYTES(form), out->w);
}
