/* Kernels of the norms: a threadgroup a row. */

/* Operands: out, x, weight; or sum, out, x, y, weight. */
template <bool adds> LF_KERNEL(lf_norm_rows) {
    constant lf_shape &shape = a.of[adds ? 2 : 1];
    uint r = group.x, n = (uint)shape.ne[0];
    device float *x = lf_floats(adds ? b2 : b1, shape, r), *out = adds ? lf_floats(b1, a.of[1], r) : lf_floats(b0, a.of[0], r);
    device float *weight = (device float *)(adds ? b4 : b2);
    float squares = 0;
    for (uint i = thread_index; i < n; i += threads) {
        float v = x[i];
        if (adds) {
            v += lf_floats(b3, a.of[3], r)[i];
            lf_floats(b0, a.of[0], r)[i] = v;
        }
        squares = fma(v, v, squares);
    }
    float inverse = 1.0f / precise::sqrt(lf_sum_all(squares, room, thread_index, threads) / (float)n + lf_real(a.attr[0]));
    for (uint i = thread_index; i < n; i += threads) {
        float v = adds ? lf_floats(b0, a.of[0], r)[i] : x[i];
        out[i] = v * inverse * weight[i];
    }
}
LF_MADE("lf_rms_norm", lf_norm_rows<false>)
LF_MADE("lf_add_rms_norm", lf_norm_rows<true>)
