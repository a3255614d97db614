/* unit_tmpl.h - one unit of one panel (panel.h) into registers: its codes, and its sub-blocks' scales and mins. */
typedef struct {
    vb w[8];
    vf dw[2], mw[2];
} unit;

INLINE vf load_d(lt_form form, const uint8_t *super)
{
    return lt_forms[form].d == D_HALF ? vf_load_f16(super) : lt_forms[form].d == D_BF16 ? vf_load_bf16(super) : vf_load((const float *)super);
}

/* dw and mw of sub-block s (within the superblock) */
INLINE void load_scales(lt_form form, const uint8_t *super, int s, vf *dw, vf *mw)
{
    const uint8_t *scales = super + FORM_SCALES_AT(form) + s * FORM_SCALE_BYTES(form);
    const vf d = load_d(form, super);
    switch (lt_forms[form].scale) {
    case SCALE_NONE: *dw = d; break;
    case SCALE_I8: *dw = vf_mul(d, vf_load_i8(scales)); break;
    case SCALE_U8: *dw = vf_mul(d, vf_load_u8(scales)); break;
    case SCALE_LOW4: *dw = vf_mul(d, vf_load_low4(scales)); break;
    }
    if (lt_forms[form].min == MIN_NONE)
        return;
    const vf m = vf_load_f16(super + FORM_D_BYTES(form));
    switch (lt_forms[form].min) {
    case MIN_NONE:
    case MIN_HALF: *mw = m; break;
    case MIN_U8: *mw = vf_mul(vf_sub(vf_set1(0.0f), m), vf_load_u8(scales + 16)); break;
    case MIN_HIGH4: *mw = vf_mul(vf_sub(vf_set1(0.0f), m), vf_load_high4(scales)); break;
    }
}

INLINE void load_codes(lt_form form, const uint8_t *levels, const uint8_t *p, vb w[8])
{
    const int has_4 = FORM_HAS(form, PLANE_4);
    if (FORM_HAS(form, PLANE_8)) {
        UNROLL for (int j = 0; j < 8; j++) w[j] = lt_forms[form].offset == LT_WIDE ? vb_load_wide(p + 64 * j) : vb_load(p + 64 * j);
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
    if (lt_forms[form].levels) {
        UNROLL for (int j = 0; j < 8; j++) w[j] = vb_lookup(w[j], levels);
    }
}

/* Unit u of the superblock. */
INLINE void load_unit(lt_form form, const uint8_t *levels, const uint8_t *super, int u, unit *out)
{
    const int subs = lt_forms[form].subs;
    UNROLL for (int s = 0; s < subs; s++) load_scales(form, super, u * subs + s, &out->dw[s], &out->mw[s]);
    load_codes(form, levels, super + FORM_UNITS_AT(form) + u * FORM_UNIT_BYTES(form), out->w);
}
