/* Kernels of the ops that treat each value alone: a thread a value. */
struct lf_do_add { static float of(float x, float y, float) { return x + y; } };
struct lf_do_mul { static float of(float x, float y, float) { return x * y; } };
struct lf_do_scale { static float of(float x, float, float by) { return x * by; } };
struct lf_do_softcap { static float of(float x, float, float by) { return by * precise::tanh(x / by); } };
struct lf_do_swiglu { static float of(float x, float y, float) { return x / (1.0f + precise::exp(-x)) * y; } };
struct lf_do_geglu {
    static float of(float x, float y, float) {
        /* tanh of a large number is no number in some implementations */
        float inner = clamp(0.79788456f * (x + 0.044715f * x * x * x), -20.0f, 20.0f);
        return 0.5f * x * (1.0f + precise::tanh(inner)) * y;
    }
};

/* Operands: out, x, and y where the op has two; `row` says that y is one row for all. */
template <class Do, bool two, bool row> LF_KERNEL(lf_each) {
    constant lf_shape &out = a.of[0];
    uint at = group.x * threads + thread_index, n = (uint)out.ne[0];
    if (at >= n * lf_rows(out)) return;
    uint r = at / n, i = at % n;
    float x = lf_floats(b1, a.of[1], r)[i], y = 0;
    if (two) y = row ? ((device float *)b2)[i] : lf_floats(b2, a.of[2], r)[i];
    lf_floats(b0, out, r)[i] = Do::of(x, y, lf_real(a.attr[0]));
}
LF_MADE("lf_add", lf_each<lf_do_add, true, false>)
LF_MADE("lf_add_row", lf_each<lf_do_add, true, true>)
LF_MADE("lf_mul", lf_each<lf_do_mul, true, false>)
LF_MADE("lf_scale", lf_each<lf_do_scale, false, false>)
LF_MADE("lf_softcap", lf_each<lf_do_softcap, false, false>)
LF_MADE("lf_swiglu", lf_each<lf_do_swiglu, true, false>)
LF_MADE("lf_geglu", lf_each<lf_do_geglu, true, false>)
