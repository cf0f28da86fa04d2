/* Decode floats that stand by themselves. */
LF_DECODE(f32) { *y = b->x; }
LF_DECODE(f16) { *y = lf_half(b->x); }
LF_DECODE(bf16) { *y = lf_float((uint32_t)b->x << 16); }
